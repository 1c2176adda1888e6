"""Commands beside a running agent, and what they say of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LOCAL

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def test_a_contested_thing_is_named_with_who_changes_it(agent: RunningAgent, file: Path) -> None:
    """What `nft` removes again and again is left alone for a while, and `status` names both; the rest is repaired."""
    machine = agent.machine
    for _ in range(5):
        repairs = agent.state["repairs"]
        machine.sh("nft flush map inet netctl-here published4")
        agent.wait_repaired(repairs)
    agent.wait_for(lambda it: it.state["contested"])
    (named,) = agent.state["contested"]
    assert named == "one: element inet published4 tcp . 8080 (changed by nft)"
    machine.sh("nft flush map inet netctl-here published4; ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_for(lambda it: "10.44.0.10" in machine.run("ip", "-n", "here.web", "address").out)
    assert "8080" not in machine.sh("nft list map inet netctl-here published4")
    assert "contested, and left alone for a while: " + named in quick_netctl(machine, "status", file)[0].out
    agent.wait_for(lambda it: "8080" in machine.sh("nft list map inet netctl-here published4"))


def test_a_second_agent_says_who_holds_the_host(agent: RunningAgent, file: Path) -> None:
    """Of two agents for one host the second ends with status 3, and names the first; the first goes on."""
    second = RunningAgent.start(agent.machine, file).running.wait()
    assert second.status == 3
    assert "cannot hold host one of here: an agent holds it already: process " in second.err
    assert str(file) in second.err
    repairs = agent.state["repairs"]
    agent.machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)


def test_pause_and_resume(agent: RunningAgent, file: Path) -> None:
    """While it is paused nothing is repaired, and `status` says so; after `resume`, and after the time, everything is."""
    machine = agent.machine
    for ends_by_itself in (False, True):
        words = ["3s" if ends_by_itself else "10m", str(file)]
        assert quick_netctl(machine, "agent", "pause", *words)[0].status == 0
        agent.wait_for(lambda it: it.state["paused"])
        repairs = agent.state["repairs"]
        machine.sh("ip link delete b-here-front")
        shown = quick_netctl(machine, "status", file)[0]
        assert "paused by `netctl agent pause" in shown.out
        assert shown.status == 1
        if not ends_by_itself:
            time.sleep(1)
            assert agent.state["repairs"] == repairs
            assert quick_netctl(machine, "agent", "resume", str(file))[0].status == 0
        agent.wait_repaired(repairs)
    assert quick_netctl(machine, "agent", "resume", str(file))[0].out.endswith("is not paused.\n")


def test_apply_diff_and_destroy_beside_it(agent: RunningAgent, file: Path) -> None:
    """Beside an agent `apply` applies, `diff` finds nothing, and what `destroy` removed stays so until the next `apply`."""
    machine = agent.machine
    for number in range(5):
        file.write_text(LOCAL.replace('"8080:80"', f'"8080:80", "{9000 + number}:90"'))
        done = quick_netctl(machine, "apply", file)[0]
        assert done.status == 0, done.err
        found = quick_netctl(machine, "diff", file)[0]
        assert (found.status, found.err) == (0, ""), found
    done = quick_netctl(machine, "destroy", file)[0]
    assert done.status == 0, done.err
    agent.wait_for(lambda it: "destroy" in it.state["paused"])
    time.sleep(1.5)
    assert "here" not in machine.run("ip", "netns").out
    assert quick_netctl(machine, "apply", file)[0].status == 0
    agent.wait_for(lambda it: not it.state["paused"])
    repairs = agent.state["repairs"]
    machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)


def test_status_shows_the_agent(agent: RunningAgent, file: Path) -> None:
    """`status` says which process holds the host, since when, and what it repaired last; in JSON, too."""
    repairs = agent.state["repairs"]
    agent.machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_repaired(repairs)
    shown = quick_netctl(agent.machine, "status", file)[0]
    assert shown.status == 0
    assert f"agent: process {agent.state['pid']} holds one since " in shown.out
    assert "repaired, last at " in shown.out
    document = json.loads(quick_netctl(agent.machine, "status", "--json", file)[0].out)
    assert document["agents"][0]["repairs"] == agent.state["repairs"]


def test_wait_returns_when_in_step(furnished: Machine, file: Path) -> None:
    """`wait` is 1 while the network is not there, and 0 as soon as it is, for all or for one container."""
    late = quick_netctl(furnished, "wait", "--timeout", "1", "--file", file)[0]
    assert late.status == 1
    assert "not in step after 1 s" in late.err
    waiting = furnished.start_netctl("wait", "--timeout", "60", "--file", file, "web")
    RunningAgent.start(furnished, file).wait_ready()
    assert waiting.wait().status == 0
    furnished.sh("true")
    assert quick_netctl(furnished, "wait", "--timeout", "0", "--file", file)[0].status == 0
    assert "did you mean web?" in quick_netctl(furnished, "wait", "--file", file, "wep")[0].err


def test_watch_prints_repairs(agent: RunningAgent, file: Path) -> None:
    """`watch` prints each repair as it happens, as JSON too, and ends with the agent."""
    watching = [agent.machine.start_netctl("watch", file), agent.machine.start_netctl("watch", "--json", file)]
    time.sleep(3)  # there is nothing by which to see that they watch
    repairs = agent.state["repairs"]
    agent.machine.sh("ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_repaired(repairs)
    agent.stop()
    text, lines = (each.wait(20) for each in watching)
    assert "container web: address 10.44.0.10/24 on eth0: missing (netlink" in text.out
    assert any(json.loads(line)["event"] == "repair" for line in lines.out.splitlines())
