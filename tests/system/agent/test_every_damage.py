"""Whatever is damaged under a running agent is repaired, and nothing else changes; how long that takes is printed.

Damages are found by looking at the machine (`tests/harness/faults/damages.py`), one of each form is done by itself. With
EVERY_DAMAGE=1 in the environment each is done.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.damages import Damage, find_damages
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.damaged import LAB, LOCAL
from tests.harness.topologies.local import furnish, write

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.timeout(1800 if os.environ.get("EVERY_DAMAGE") else 600)]

TARGET_S, LIMIT_S = 2.0, 20.0
"""What is promised on an idle machine, and what is waited for on a busy one."""


@pytest.fixture(scope="module", params=[(LOCAL, "one"), (LAB, "alpha")], ids=["local", "lab"])
def agent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """A running agent, in step."""
    for name in ("root", "nft"):
        require_capability(name)
    text, host = request.param
    machine = Machine.make(tmp_path_factory.mktemp("agent"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        yield RunningAgent.start(machine, write(machine, text), host=host, patient=True).wait_ready()
    finally:
        machine.end()


def test_each_by_itself(agent: RunningAgent, capsys: pytest.CaptureFixture[str]) -> None:
    """Each form of damage is repaired by itself; at the end the machine is as it was, and `diff` agrees."""
    found = [damage for damage in find_damages(agent.machine, "here") if not damage.undo]
    chosen = found if os.environ.get("EVERY_DAMAGE") else list({damage.form: damage for damage in found}.values())
    before = read_live(agent.machine)
    times: dict[str, float] = {}
    for damage in chosen:
        times[damage.what] = damage_and_wait(agent, damage)
    late = {what: round(taken_s, 1) for what, taken_s in times.items() if taken_s > TARGET_S}
    with capsys.disabled():
        middle, worst = statistics.median(times.values()), max(times.values())
        print(f"\nagent: {len(chosen)} of {len(found)} damages repaired, median {middle:.2f} s, worst {worst:.2f} s, late {late}")
    assert quick_netctl(agent.machine, "diff", agent.machine.folder / "topology.yaml")[0].status == 0
    assert differences(before, read_live(agent.machine)) == ""


def damage_and_wait(agent: RunningAgent, damage: Damage) -> float:
    """Do it, and wait until it is repaired; how long that took."""
    repairs = agent.state["repairs"]
    begun_s = time.monotonic()
    agent.machine.run("sh", "-euc", damage.command)
    try:
        agent.wait_repaired(repairs, LIMIT_S)
    except AssertionError as error:
        pytest.fail(f"{damage.what} was not repaired: {error}")
    return time.monotonic() - begun_s
