"""The workers of an agent between two cycles: they stay, hold nothing of the hosts, and make way for another netctl."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LAB, write

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def workers_of(agent: RunningAgent) -> list[str]:
    """The numbers of its workers, as the machine sees them."""
    return agent.machine.run("pgrep", "-P", str(agent.state["pid"]), check=False).out.split()


def test_a_deleted_namespace_is_gone_although_the_agent_stands_still(agent: RunningAgent) -> None:
    """No socket of a worker keeps a container's namespace alive: the other end of its cable goes at once."""
    machine, links = agent.machine, "ip -o link show type veth"
    machine.sh("nft flush ruleset")
    time.sleep(3)  # it is repaired, and the agent rests
    assert workers_of(agent)
    agent.running.kill(signal.SIGSTOP)
    machine.run("pkill", "-STOP", "-P", str(agent.state["pid"]))
    before = len(machine.sh(links).splitlines())
    machine.sh("ip netns delete here.web")
    deadline_s = time.monotonic() + 10
    while len(machine.sh(links).splitlines()) >= before and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert len(machine.sh(links).splitlines()) < before
    machine.run("pkill", "-CONT", "-P", str(agent.state["pid"]))
    agent.running.kill(signal.SIGCONT)
    agent.wait_for(lambda it: len(it.machine.sh(links).splitlines()) == before and it.state["in_step"], 60)


def test_the_worker_of_a_lab_host_leaves_it(furnished: Machine) -> None:
    """Between two cycles all threads of all workers are in the machine's own namespace, also after a repair."""
    file = write(furnished, LAB)
    agent = RunningAgent.start(furnished, file, name="shop", host="alpha").wait_ready()
    repairs = agent.state["repairs"]
    furnished.sh("ip netns exec shop.lab.alpha nft flush ruleset; ip -n shop.web link delete eth0")
    agent.wait_repaired(repairs)
    own = furnished.sh("readlink /proc/self/ns/net")
    script = "for each in $(pgrep -P {pid}); do readlink /proc/$each/task/*/ns/net; done | sort -u"
    agent.wait_for(lambda it: it.machine.sh(script.format(pid=it.state["pid"])) == own)


def test_workers_stay_for_many_cycles_and_not_beside_another_netctl(agent: RunningAgent, file: Path) -> None:
    """A repair and a reading leave the same workers; an apply of another netctl, or a pause, ends them."""
    machine = agent.machine
    first = workers_of(agent)
    for _ in range(2):
        repairs = agent.state["repairs"]
        machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
        agent.wait_repaired(repairs)
    assert first
    assert workers_of(agent) == first
    assert machine.netctl("apply", "--quiet", file).status == 0
    repairs = agent.state["repairs"]
    machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_repaired(repairs)
    agent.wait_for(workers_of)
    assert workers_of(agent) != first
    machine.netctl("agent", "pause", "10m", file)
    agent.wait_for(lambda it: it.state["paused"] and not workers_of(it))


def test_a_command_that_ended_leaves_no_zombie(agent: RunningAgent) -> None:
    """Commands are children of the worker that started them, and it stays: it reads the status of each that has ended."""
    machine = agent.machine
    for _ in range(3):
        repairs = agent.state["repairs"]
        machine.sh("kill -9 $(ip netns pids here.db)")
        agent.wait_repaired(repairs)
    agent.wait_for(lambda it: "Z" not in it.machine.sh("ps -eo stat="))


def test_workers_that_are_killed_between_cycles_are_replaced_in_silence(agent: RunningAgent) -> None:
    """The next cycle starts others, and reports no error."""
    machine = agent.machine
    machine.run("pkill", "-9", "-P", str(agent.state["pid"]))
    repairs = agent.state["repairs"]
    machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)
    assert "error: " not in agent.said
