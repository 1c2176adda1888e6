"""What an agent counts of the traffic between subnets: real packets, by the policy that allows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LAB, edit, write

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

FETCH = "busybox wget -qO- http://127.0.0.1:9478/metrics"
ALLOWED, DROPPED = ("from web to db", "allowed"), ("from front to back", "dropped")
SYN_BYTES = 60


def read_traffic(machine: Machine, what: str = "packets", name: str = "here") -> dict[tuple[str, str], float]:
    """What is served, by policy and verdict."""
    found = re.findall(
        rf'^netctl_policy_{what}_total{{policy="(.*)",topology="{name}",verdict="(.*)"}} (.*)$', machine.sh(FETCH), re.MULTILINE
    )
    return {(policy, verdict): float(number) for policy, verdict, number in found}


def knock(machine: Machine, port: int, times: int, netns: str = "here.web") -> None:
    """Ask `db` from `web` for connections. Each is one packet there: `db` does not listen, or the host rejects it."""
    for _ in range(times):
        machine.run("ip", "netns", "exec", netns, "busybox", "nc", "-w", "2", "10.45.0.20", str(port), check=False)


def repair(agent: RunningAgent, damage: str) -> None:
    """Damage something, and wait until it is back: after such a cycle the metrics are new."""
    repairs = agent.state["repairs"]
    agent.machine.sh(damage)
    agent.wait_repaired(repairs)


def test_packets_are_counted_under_their_policy(furnished: Machine, file: Path) -> None:
    """Allowed packets count under their policy, dropped ones under their subnets, and neither is a difference to the file.

    Another policy, or a new ruleset, takes nothing from the counters.
    """
    agent = RunningAgent.start(furnished, file, "--metrics", "127.0.0.1:9478").wait_ready()
    agent.wait_for(lambda _: read_traffic(furnished) == {ALLOWED: 0.0})
    knock(furnished, 5432, 3)
    knock(furnished, 99, 2)
    repair(agent, "ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_for(lambda _: read_traffic(furnished) == {ALLOWED: 3.0, DROPPED: 2.0})
    assert read_traffic(furnished, "bytes") == {ALLOWED: 3.0 * SYN_BYTES, DROPPED: 2.0 * SYN_BYTES}
    assert quick_netctl(furnished, "diff", file)[0].status == 0
    repairs = agent.state["repairs"]
    edit(file, ("ports: [5432/tcp]}", "ports: [5432/tcp]}\n  - {allow: front, to: db, ports: [99/tcp]}"))
    agent.wait_repaired(repairs)
    knock(furnished, 5432, 1)
    knock(furnished, 99, 1)
    repair(agent, "ip -n here.web address delete 10.44.0.10/24 dev eth0")
    wanted = {ALLOWED: 4.0, DROPPED: 2.0, ("from front to db", "allowed"): 1.0}
    agent.wait_for(lambda _: read_traffic(furnished) == wanted)
    repair(agent, "nft flush ruleset")
    knock(furnished, 5432, 2)
    repair(agent, "ip -n here.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_for(lambda _: read_traffic(furnished) == {**wanted, ALLOWED: 6.0})


def test_the_hosts_of_a_lab_are_counted_together(furnished: Machine) -> None:
    """An agent that holds several hosts, and the lab around them, adds up what each of them has counted."""
    file = write(furnished, LAB)
    agent = RunningAgent.start(furnished, file, "--metrics", "127.0.0.1:9478", name="shop", host="alpha").wait_ready()
    agent.wait_for(lambda _: read_traffic(furnished, name="shop") == {ALLOWED: 0.0})
    knock(furnished, 5432, 2, "shop.web")
    repair(agent, "ip -n shop.web address delete 10.44.0.10/24 dev eth0")
    agent.wait_for(lambda _: read_traffic(furnished, name="shop") == {ALLOWED: 2.0})
