"""The examples with an engine: applied, verified with packets, and destroyed. The others are in `system/e2e`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.engines import running_docker, running_lxc, running_podman
from tests.harness.netctl import run_netctl

EXAMPLES = Path(__file__).parents[3] / "examples"
ENGINES = {
    "docker-web-db.yaml": ("docker", "dockerd", running_docker),
    "podman.yaml": ("podman", "podman", running_podman),
    "lxc-nat.yaml": ("lxc", "lxc", running_lxc),
    "lxc-direct.yaml": ("lxc", "lxc", running_lxc),
}


@pytest.mark.parametrize("name", ENGINES)
def test_an_example_with_an_engine(topology_name: str, tmp_path: Path, name: str) -> None:
    """On a lab host with an engine of the test's own instead of this machine's, each file does what it says."""
    path = tmp_path / "topology.yaml"
    text = re.sub("^name: .*", f"name: {topology_name}", (EXAMPLES / name).read_text(), flags=re.MULTILINE)
    runtime, capability, running = ENGINES[name]
    require_capability("root")
    require_capability(capability)
    with running() as engine:
        lab = f'{{connect: lab, address: 192.0.2.11, {runtime}: "{engine.url}"}}'
        path.write_text(re.sub(r"(?<=here: )\{.*\}", lab, text))
        try:
            applied = run_netctl("apply", path)
            assert applied.status == 0, applied.err
            verified = run_netctl("verify", path)
            assert verified.status == 0, verified.out
            assert len([name for name in engine.names() if not name.endswith(".net")]) == 2
        finally:
            gone = run_netctl("destroy", path)
        assert gone.status == 0, gone.err
        assert engine.names() == []


def test_no_example_is_left_out() -> None:
    """Every example that needs an engine is in the list."""
    words = ("image:", "existing:", "runtime: lxc")
    names = {path.name for path in EXAMPLES.glob("*.yaml") if any(word in path.read_text() for word in words)}
    assert {name for name in names if "ssh://" not in (EXAMPLES / name).read_text()} == set(ENGINES)
