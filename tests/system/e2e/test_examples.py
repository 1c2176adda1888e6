"""The examples, and the topology of `make demo`, do what they say: applied, verified, and destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = ("image:", "ssh://", "runtime: lxc", "existing:", "connect: local", "openvswitch")
"""What needs an engine, another machine or a daemon: those examples are tried where the tests have them."""
FILES = [
    path
    for path in (ROOT / "topology.yaml", *sorted((ROOT / "examples").glob("*.yaml")))
    if not any(word in line.partition("#")[0] for line in path.read_text().splitlines() for word in ELSEWHERE)
]


def test_there_are_examples() -> None:
    """The list above is not empty by mistake."""
    assert len(FILES) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_works(machine: Machine, path: Path) -> None:
    """Apply and verify are 0, diff is 0, every probe is as promised, and destroy leaves nothing."""
    before = read_live(machine)
    for command in ("apply", "diff", "status", "verify"):
        done, _ = quick_netctl(machine, command, path)
        assert done.status == 0, done.out + done.err
    assert quick_netctl(machine, "destroy", path)[0].status == 0
    assert differences(before, read_live(machine)) == ""
