"""Invariant 1: an apply of what is there already makes no change, sends no write to the kernel and restarts nothing."""

from __future__ import annotations

import signal
import time

import pytest

from tests.harness.live import differences, read_live, read_pids
from tests.harness.machine import Machine, Running
from tests.harness.topologies.local import LAB, LOCAL, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(1)]

LEARNT = ("REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "INCOMPLETE", "NOARP")


def watch(machine: Machine) -> list[Running]:
    """All that the kernel reports of changes, in every namespace: of links, addresses, routes, rules, neighbors and tables."""
    namespaces = ["", *machine.sh("ls /run/netns").split()]
    words = (("ip", "-o", "monitor", "all"), ("nft", "monitor"))
    watching = [machine.start_command(*command, netns=netns) for netns in namespaces for command in words]
    time.sleep(0.2)
    return watching


def end_watch(watching: list[Running]) -> list[str]:
    time.sleep(0.1)
    for each in watching:
        each.kill(signal.SIGTERM)
    lines = [line for each in watching for line in each.wait().out.splitlines()]
    # What the kernel learns of neighbors is its own affair, and so are the entries of groups, which it forgets again.
    return [line for line in lines if line.strip() and not any(word in line for word in LEARNT)]


@pytest.mark.parametrize("text", [LOCAL, LAB], ids=["local", "lab"])
def test_invariant_1_a_second_apply_writes_nothing(furnished: Machine, text: str) -> None:
    """The kernel reports no change while diff, status and apply run a second time, and processes and settings are the same."""
    file = write(furnished, text)
    assert furnished.netctl("apply", file).status == 0
    before, pids = read_live(furnished), read_pids(furnished, "sleep infinity")
    assert len(pids) == 1
    watching = watch(furnished)
    for command in ("diff", "status", "apply", "apply"):
        done = furnished.netctl(command, file)
        assert done.status == 0, done.out + done.err
    assert end_watch(watching) == []
    assert differences(before, read_live(furnished)) == ""
    assert read_pids(furnished, "sleep infinity") == pids


def test_invariant_1_the_watch_sees_what_there_is(furnished: Machine) -> None:
    """What the test above relies on: a single element and a single address are reported."""
    file = write(furnished, LOCAL)
    assert furnished.netctl("apply", file).status == 0
    watching = watch(furnished)
    file.write_text(LOCAL.replace("8080:80", "8081:80"))
    assert furnished.netctl("apply", file).status == 0
    furnished.sh("ip -n here.web address add 10.44.0.99/32 dev eth0")
    lines = end_watch(watching)
    assert any("8081" in line for line in lines)
    assert any("10.44.0.99" in line for line in lines)
