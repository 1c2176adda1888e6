"""Commands that only read, beside an apply: each answer is that of one state, or says that an apply is at work."""

from __future__ import annotations

import time

import pytest

from tests.harness.faults.strike import Fault, quick_netctl, start_quick, wait_for_fault
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, LOCAL_CHANGED, write

pytestmark = pytest.mark.kernel
AT_WORK = "another netctl"
COMMANDS = ("status", "diff")


def test_twenty_readers_in_mid_apply(furnished: Machine) -> None:
    """While an apply stands still, every reader names its process; when it is done, none does, and all is in step."""
    file = write(furnished, LOCAL)
    first, counter = start_quick(furnished, "apply", file, fault=Fault("pause", 30))
    wait_for_fault(counter)
    readers = [start_quick(furnished, command, file)[0] for command in (*COMMANDS * 9, "verify", "verify")]
    for ended in [reader.wait() for reader in readers]:
        assert ended.status in {1, 6, 7}, ended.err
        assert f"{AT_WORK} was at work" in ended.err or f"while {AT_WORK} is at work" in ended.err
        assert "(netctl apply " in ended.err
    furnished.sh("touch /run/go-on")
    assert first.wait().status == 0
    for command in COMMANDS:
        ended, _ = quick_netctl(furnished, command, file)
        assert (ended.status, ended.err) == (0, "")


def test_readers_beside_applies(furnished: Machine) -> None:
    """Applies lead from one file to the other. A reader finds one of the two states as it is, or says that they are at work."""
    files = [write(furnished, text, f"{number}.yaml") for number, text in enumerate((LOCAL, LOCAL_CHANGED))]
    true: dict[str, set[str]] = {command: set() for command in COMMANDS}
    for file in reversed(files):
        assert quick_netctl(furnished, "apply", "-q", file)[0].status == 0
        for command in COMMANDS:
            true[command].add(quick_netctl(furnished, command, files[0])[0].out)
    disturbed = 0
    for turn in (1, 0, 1, 0):
        writer, _ = start_quick(furnished, "apply", "-q", files[turn])
        readers = []
        for number in range(8):
            time.sleep(0.05)
            command = COMMANDS[number % 2]
            readers.append((command, start_quick(furnished, command, files[0])[0]))
        written = writer.wait()
        assert written.status == 0, written.err
        for command, reader in readers:
            ended = reader.wait()
            assert ended.status in {0, 1, 7}, ended.err
            disturbed += AT_WORK in ended.err
            assert AT_WORK in ended.err or ended.out in true[command], ended.out + ended.err
    assert disturbed > 0
    assert quick_netctl(furnished, "status", files[0])[0].status == 0
