"""SIGINT and SIGTERM in the middle of an apply: the step in hand is finished, what was done is rolled back; status 4."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.harness.faults.strike import Fault, start_quick
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, LOCAL, LOCAL_CHANGED, write

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 8, 20])
def test_a_stop_in_the_middle(furnished: Machine, number: signal.Signals, at: int) -> None:
    """The same as before, whether the stop comes while things are removed, made, or at the very first step."""
    file = write(furnished, LOCAL)
    assert furnished.netctl("apply", file).status == 0
    before = read_live(furnished)
    file.write_text(LOCAL_CHANGED)
    running, counter = start_quick(furnished, "apply", file, fault=Fault("pause", at))
    while counter[1] == 0:
        time.sleep(0.002)
    running.kill(number)
    running.kill(number)
    time.sleep(0.3)
    furnished.sh("touch /run/go-on")
    done = running.wait()
    furnished.sh("rm /run/go-on")
    assert done.status == 4, done.err
    assert "stopped by the user" in done.err
    assert "as it was before" in done.err
    assert differences(before, read_live(furnished)) == ""


def test_a_stop_of_the_real_thing(machine: Machine) -> None:
    """SIGINT to the process as a terminal sends it, to controller and workers alike: done before it came, or rolled back."""
    before = read_live(machine)
    file = write(machine, LAB)
    running = machine.start_netctl("apply", file)
    time.sleep(0.55)
    for pid in machine.run("pgrep", "-f", "reconciler", check=False).out.split():
        machine.run("kill", "-INT", pid, check=False)
    done = running.wait()
    assert done.status in (0, 4, 130), done.err
    if done.status:
        assert differences(before, read_live(machine)) == ""
    else:
        assert machine.netctl("diff", file).status == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.03, 0.06, 0.1, 0.2])
def test_a_stop_at_the_very_end(machine: Machine, delay_s: float) -> None:
    """SIGTERM after the last step: what was done is rolled back with 4, or it is too late, and all is as the file says."""
    before = read_live(machine)
    file = write(machine, LAB)
    running = machine.start_netctl("apply", file)
    while os.pread(running.err.fileno(), 1 << 16, 0).count(b"steps done") < 3:
        time.sleep(0.002)
    time.sleep(delay_s)
    running.kill(signal.SIGTERM)
    done = running.wait()
    assert done.status in (0, 4), done.err
    if done.status:
        assert differences(before, read_live(machine)) == ""
    else:
        assert machine.netctl("diff", file).status == 0
