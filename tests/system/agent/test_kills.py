"""SIGKILL of the agent and of its workers at random moments, while packets flow.

KILLS is how often (20 by default), and KILLS_SEED repeats a run. What is repaired meanwhile belongs to containers without
traffic, so that a packet that is lost is the kill's fault.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.harness.faults.connections import Datagrams, start_datagram_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LOCAL, edit, write

KILLS = int(os.environ.get("KILLS", "20"))

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.timeout(300 + 5 * KILLS)]

IDLE = "  idle: {networks: {front: 10.44.0.30}, ports: [9090:90, 7000-7099:7000-7099]}\n"
EXPOSED = ('ports: ["8080:80"]', 'ports: ["8080:80/udp"]')
DAMAGES = (
    "ip -n here.idle link delete eth0",
    "ip netns delete here.idle",
    "ip -n here.idle address flush dev eth0; ip -n here.idle neighbor flush dev eth0 nud permanent",
    "for port in $(seq 7000 7099); do echo delete element inet netctl-here published4 { tcp . $port }; done | nft -f -",
    "ip link set b-here-front mtu 1400; echo 3 > /proc/sys/net/ipv4/neigh/b-here-front/mcast_solicit",
    "true",
)


def start_streams(machine: Machine) -> list[Datagrams]:
    """In a subnet, between two by a policy, from the host, and by a published port from outside."""
    for netns, port in (("here.web", 80), ("here.db", 5432)):
        start_datagram_server(machine, netns, port)
    inside = (("here.app", "10.44.0.10", 80), ("here.web", "10.45.0.20", 5432))
    outside = (("", "10.44.0.10", 80), ("world", "192.0.2.11", 8080))
    return [Datagrams.start(machine, *way) for way in (*inside, *outside)]


def read_children(agent: RunningAgent) -> list[str]:
    """The agent's workers, and the server of its metrics; none if it has not begun."""
    return agent.machine.run("pgrep", "-P", str(agent.state.get("pid", 0) or 1_000_000), check=False).out.split()


def is_running(machine: Machine, pid: str) -> bool:
    """Whether there is such a process, and it has not ended."""
    return machine.run("ps", "-o", "stat=", "-p", pid, check=False).out.strip()[:1] not in ("", "Z")


def test_kills_lose_no_packet(furnished: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """After each kill no process is left; all packets are answered; the next start is in step, and leaves no lock or file."""
    seed = int(os.environ.get("KILLS_SEED", "0")) or random.randrange(1, 1 << 30)
    lot, file = random.Random(seed), write(furnished, LOCAL)
    edit(file, EXPOSED, ("  db:", IDLE + "  app: {networks: {front: auto}}\n  db:"), ("5432/tcp", "5432/udp"))
    RunningAgent.start(furnished, file).wait_ready().stop()
    before = read_live(furnished)
    streams = start_streams(furnished)
    for number in range(KILLS):
        agent = RunningAgent.start(furnished, file, "--metrics", "127.0.0.1:9478")
        if lot.random() < 0.5:
            agent.wait_ready()
        furnished.run("sh", "-c", lot.choice(DAMAGES), check=False)
        time.sleep(lot.random() * 0.6)
        if number % 2:
            furnished.run("pkill", "-9", "-P", str(agent.state.get("pid", "1000000")), check=False)
            time.sleep(lot.random() * 0.6)
        children = read_children(agent)
        agent.stop(signal.SIGKILL)
        deadline_s = time.monotonic() + 5
        while left := [pid for pid in children if is_running(furnished, pid)]:
            assert time.monotonic() < deadline_s, f"these outlive the agent: {left}"
            time.sleep(0.02)
    agent = RunningAgent.start(furnished, file).wait_ready()
    assert quick_netctl(furnished, "diff", file)[0].status == 0
    agent.stop()
    time.sleep(0.2)
    with capsys.disabled():
        print(f"\nagent: {KILLS} kills (seed {seed}); sent {', '.join(f'{each.counts[0]:,}' for each in streams)}")
    assert {each.name: each.counts[1] for each in streams if each.counts[1]} == {}
    for each in streams:
        each.client.kill(signal.SIGKILL)
    assert differences(before, read_live(furnished)) == ""
