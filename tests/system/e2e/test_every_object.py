"""Drift, object by object: whatever of netctl's is damaged is seen by `status`, and one `apply` puts it right.

Damages are found by looking at the machine (see `damages`), one of each form is done by itself, and then many at once. Of the
lab, which has many forms of a local host again, every other form is done, by lot. With EVERY_DAMAGE=1 in the environment each
is done by itself. What is not watched, and why, stands in docs/how-it-works.md.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.damages import Damage, find_damages
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.damaged import LAB, LOCAL
from tests.harness.topologies.local import furnish, write

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.timeout(1800 if os.environ.get("EVERY_DAMAGE") else 600)]

BATCH = 10


@pytest.fixture(scope="module", params=[LOCAL, LAB], ids=["local", "lab"])
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the topology, applied. Each test leaves it as it was."""
    for name in ("root", "nft"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("every"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        assert quick_netctl(machine, "apply", write(machine, request.param))[0].status == 0
        yield machine
    finally:
        machine.end()


def test_each_by_itself(live: Machine, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Each damage is seen by `status` and repaired by one `apply`, or it is refused with the thing's name."""
    found = list(find_damages(live, "here"))
    chosen, seed = found, int(time.time())
    if not os.environ.get("EVERY_DAMAGE"):
        chosen = list({damage.form: damage for damage in found}.values())
        if "lab" in request.node.name:
            chosen = random.Random(seed).sample(chosen, len(chosen) // 2)
    before = read_live(live)
    faults = [fault for damage in chosen if (fault := attempt(live, damage))]
    assert "\n".join(faults) == ""
    assert quick_netctl(live, "diff", live.folder / "topology.yaml")[0].status == 0
    assert differences(before, read_live(live)) == ""
    with capsys.disabled():
        print(f"\ndrift: damaged {len(chosen)} of {len(found)}, seen {len(chosen)}, repaired {len(chosen)} (seed {seed})")


def attempt(live: Machine, damage: Damage) -> str:
    """Do it and repair it; what is wrong with what netctl says, "" for nothing."""
    file = live.folder / "topology.yaml"
    live.run("sh", "-euc", damage.command)
    told, _ = quick_netctl(live, "status", file)
    if damage.undo:
        live.run("sh", "-euc", damage.undo)
        return "" if told.status == 3 else f"{damage.what}: status {told.status}, and should be refused"
    if told.status != 1:
        return f"{damage.what}: status {told.status}: not seen"
    done, _ = quick_netctl(live, "apply", "-q", file)  # which reads everything again, and fails if anything differs
    return f"{damage.what}: apply {done.status}: {done.err}" if done.status else ""


def test_ten_at_a_time(live: Machine) -> None:
    """Of ten random damages at once, the machine is as it was after one apply; the second does nothing."""
    lot = random.Random(9)
    found = [damage for damage in find_damages(live, "here") if not damage.undo]
    lot.shuffle(found)
    before = read_live(live)
    for first in range(0, 5 * BATCH, BATCH):
        repair(live, found[first : first + BATCH])
        assert differences(before, read_live(live)) == "", [damage.what for damage in found[first : first + BATCH]]


def repair(live: Machine, damages: Sequence[Damage]) -> None:
    """Do all of them (one may have taken away what another is about), and apply."""
    for damage in damages:
        live.run("sh", "-c", damage.command, check=False)
    file, told = live.folder / "topology.yaml", [damage.what for damage in damages]
    assert quick_netctl(live, "status", file)[0].status == 1, told
    done, _ = quick_netctl(live, "apply", "-q", file)
    assert done.status == 0, f"{told}: {done.err}"
    assert quick_netctl(live, "diff", file)[0].status == 0, told
