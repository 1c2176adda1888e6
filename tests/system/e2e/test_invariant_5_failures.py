"""Invariant 5: a step that fails rolls the host back to what it was, or says exactly what is left and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults.strike import REFUSAL, Fault, quick_netctl
from tests.harness.faults.walker import EMPTY, Trial, choose, read_way, try_all
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, LOCAL, LOCAL_CHANGED, write

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.invariant(5)]

ROLLED_BACK, LEFT = 4, 5
LATE = 22
KINDS = ("fail", "fail-late", "kill-worker")
WAYS = [(EMPTY, "local"), ("local", "changed"), ("changed", "local"), ("local", EMPTY), (EMPTY, "lab"), ("lab", EMPTY)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(word or "empty" for word in way))
def test_invariant_5_a_failure_at_every_step(way: tuple[str, str], tmp_path: Path) -> None:
    """Each sort of step is refused, is refused after it was done, or kills its worker: status 4, and all is as it was before."""
    chosen = choose(read_way(tmp_path, *way, "step"))
    trials = [Trial(*way, None, Fault(KINDS[turn % len(KINDS)], at), ROLLED_BACK) for turn, at in enumerate(chosen)]
    assert len(trials) > 5
    wrong = try_all(tmp_path, trials)
    assert not wrong, wrong


def test_invariant_5_it_says_what_went_wrong(furnished: Machine) -> None:
    """The sentence names the thing and the reason, and says that all is as before; --json does not change that."""
    file = write(furnished, LOCAL)
    for arguments in (("apply", file), ("apply", "--json", file)):
        done, _ = quick_netctl(furnished, *arguments, fault=Fault("fail", 20))
        assert done.status == ROLLED_BACK
        assert REFUSAL in done.err
        assert "as it was before" in done.err
        assert any(word in done.err for word in ("address", "route", "neighbor", "bridge", "veth"))


@pytest.mark.parametrize("at", [10, 25])
def test_invariant_5_a_rollback_that_fails(furnished: Machine, at: int) -> None:
    """Status 5: it says that not all could be rolled back, and what; the next apply continues, and destroy removes all."""
    before = read_live(furnished)
    file = write(furnished, LOCAL)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    file.write_text(LOCAL_CHANGED)
    done, _ = quick_netctl(furnished, "apply", file, fault=Fault("fail-twice", at))
    assert done.status == LEFT, done.err
    assert "the rollback is incomplete" in done.err
    assert "netctl status" in done.err
    assert quick_netctl(furnished, "status", file)[0].status == 1
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    assert quick_netctl(furnished, "diff", file)[0].status == 0
    assert quick_netctl(furnished, "destroy", file)[0].status == 0
    assert differences(before, read_live(furnished)) == ""


@pytest.mark.parametrize("damage", ["insert rule inet netctl-here forward accept", "delete table bridge netctl-here"])
def test_invariant_5_a_damaged_firewall(furnished: Machine, damage: str) -> None:
    """A failure before the firewall is repaired leaves the damage: status 4. Later a changed table stays whole: status 5, named.

    A table that was missing is removed again: status 4.
    """
    file = write(furnished, LOCAL)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    for fault_at, is_early in ((1, True), (LATE, False)):
        furnished.sh(f"nft {damage}")
        before = read_live(furnished)
        wanted = LOCAL.replace("policies:", "  bad: {networks: {front: auto}}\npolicies:")
        done, _ = quick_netctl(furnished, "apply", write(furnished, wanted, "bad.yaml"), fault=Fault("fail", fault_at))
        if is_early or damage.startswith("delete"):
            assert (done.status, "as it was before" in done.err) == (ROLLED_BACK, True), done.err
            assert differences(before, read_live(furnished)) == ""
        else:
            assert done.status == LEFT, done.err
            said = "firewall inet: netctl re-created it, so the manual change in it is lost"
            assert f"after the rollback: {said}" in done.err
            assert "deleted with" not in done.err
            assert "accept" in differences(before, read_live(furnished))
            assert quick_netctl(furnished, "diff", file)[0].status == 0
        assert quick_netctl(furnished, "apply", file)[0].status == 0


def test_invariant_5_one_host_of_two(machine: Machine) -> None:
    """What fails on one host is rolled back on both."""
    file = write(machine, LAB)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    before = read_live(machine)
    file.write_text(
        LAB.replace("replicas: 3", "replicas: 5").replace("10.44.0.10", "10.44.0.12").replace("10.45.0.20", "10.45.0.21")
    )
    for at in (2, 5, 10, 20):
        done, _ = quick_netctl(machine, "apply", file, fault=Fault("fail", at))
        assert done.status == ROLLED_BACK, done.err
        assert differences(before, read_live(machine)) == ""
