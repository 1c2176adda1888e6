"""Invariant 8: diff and apply agree: what was printed is what is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, LOCAL, LOCAL_CHANGED, edit, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(8)]


def plan_of(machine: Machine, *arguments: str | Path) -> Any:
    done, _ = quick_netctl(machine, *arguments)
    assert done.status in (0, 1), done.err
    told = json.loads(done.out)
    return told.get("plan", told)


def test_invariant_8_the_same_plan(furnished: Machine) -> None:
    """For creation, change, repair and removal, apply says that it did what diff said it would do, to the last step."""
    file = write(furnished, LOCAL)
    for text, damage in (
        (LOCAL, ""),
        (LOCAL_CHANGED, ""),
        (LOCAL_CHANGED, "ip link delete b-here-front; nft flush ruleset"),
        (LOCAL, ""),
    ):
        file.write_text(text)
        furnished.sh(damage)
        planned = plan_of(furnished, "diff", "--json", file)
        assert any(host.get("changes") for host in planned["hosts"])
        assert plan_of(furnished, "apply", "--json", file) == planned
        assert not any(host.get("changes") for host in plan_of(furnished, "diff", "--json", file)["hosts"])


def test_invariant_8_a_saved_plan(furnished: Machine) -> None:
    """A saved plan is applied where nothing has moved; where the host or the file has, it is refused and nothing is done."""
    file, plan = write(furnished, LOCAL), furnished.folder / "plan.json"
    assert furnished.exec_netctl("diff", "--plan", plan, file).status == 1
    assert furnished.exec_netctl("apply", "--plan", plan, file).status == 0
    file.write_text(LOCAL_CHANGED)
    assert furnished.exec_netctl("diff", "--plan", plan, file).status == 1
    before = read_live(furnished)
    edit(file, ("9090:90", "9091:90"))
    stale = furnished.exec_netctl("apply", "--plan", plan, file)
    assert (stale.status, "stale" in stale.err) == (2, True)
    edit(file, ("9091:90", "9090:90"))
    furnished.sh("ip -n here.web link set eth0 mtu 1300")
    stale = furnished.exec_netctl("apply", "--plan", plan, file)
    assert (stale.status, "stale" in stale.err) == (2, True)
    furnished.sh("ip -n here.web link set eth0 mtu 1500")
    assert differences(before, read_live(furnished)) == ""
    assert furnished.exec_netctl("apply", "--plan", plan, file).status == 0


LAB_CHANGED = LAB.replace("replicas: 3", "replicas: 1").replace('"8080:80", ', "")


@pytest.mark.parametrize("texts", [(LAB, LAB_CHANGED), (LOCAL, LOCAL_CHANGED)], ids=["lab", "local"])
def test_invariant_8_the_script_does_what_apply_does(furnished: Machine, texts: tuple[str, str]) -> None:
    """`diff --commands | sh` leads to the same live state as apply, and so does the script of a change.

    What destroy restores after it is what was there before: settings of the host's, too.
    """
    machine = furnished
    before = read_live(machine)
    file = write(machine, texts[0])
    wanted = []
    for each in texts:
        file.write_text(each)
        assert quick_netctl(machine, "apply", file)[0].status == 0
        wanted.append(read_live(machine))
    assert quick_netctl(machine, "destroy", file)[0].status == 0
    for each, look in zip(texts, wanted, strict=True):
        file.write_text(each)
        script, _ = quick_netctl(machine, "diff", "--commands", file)
        assert script.status == 1
        machine.sh(script.out)
        after, _ = quick_netctl(machine, "diff", file)
        assert after.status == 0, after.out
        found = differences(look, read_live(machine))
        assert not found, found
    assert quick_netctl(machine, "destroy", file)[0].status == 0
    assert differences(before, read_live(machine)) == ""
