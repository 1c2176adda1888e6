"""Invariant 6: of two netctl at once one works, and the other says who holds the lock."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.harness.faults.strike import Fault, start_quick
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, LOCAL, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(6)]


def test_invariant_6_the_second_learns_who_works(furnished: Machine) -> None:
    """While an apply stands still, apply and destroy end with 7 and its process; diff and status may look. Then it goes on."""
    file = write(furnished, LOCAL)
    first, counter = start_quick(furnished, "apply", file, fault=Fault("pause", 20))
    while counter[1] == 0:
        time.sleep(0.005)
    for command in ("apply", "destroy"):
        second = furnished.netctl(command, file)
        assert second.status == 7, second.err
        named = re.search(r"process (\d+) \(netctl apply .*topology\.yaml\), since 20", second.err)
        assert named, second.err
        assert furnished.run("kill", "-0", named[1], check=False).status == 0
    assert furnished.netctl("diff", file).status == 1
    assert furnished.netctl("status", file).status == 1
    furnished.sh("touch /run/go-on")
    assert first.wait().status == 0
    assert furnished.netctl("diff", file).status == 0


def test_invariant_6_the_lock_of_a_killed_one_is_free(furnished: Machine) -> None:
    """Right after SIGKILL of the controller alone, the next apply gets it, though the file of the lock is still there."""
    file = write(furnished, LAB)
    first, counter = start_quick(furnished, "apply", file, fault=Fault("pause", 70))
    while counter[1] == 0:
        time.sleep(0.005)
    first.kill(signal.SIGKILL)
    assert furnished.sh("ls /run/netctl/*/lock").split()
    done = furnished.netctl("apply", file)
    assert done.status == 0, done.err
    assert furnished.run("sh", "-c", "ls /run/netctl/*/lock", check=False).out == ""


def test_invariant_6_several_start_together(furnished: Machine) -> None:
    """Of five applies at the same moment each works or says that another does; at least one works, and all is as it should be."""
    file = write(furnished, LAB)
    ends = [running.wait() for running in [furnished.start_netctl("apply", file) for _ in range(5)]]
    assert {end.status for end in ends} <= {0, 7}, [end.err for end in ends]
    assert any(end.status == 0 for end in ends)
    assert furnished.netctl("diff", file).status == 0
    before = read_live(furnished)
    assert furnished.netctl("apply", file).status == 0
    assert differences(before, read_live(furnished)) == ""
