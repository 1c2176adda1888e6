"""Random drift and random edits of the file, with five TCP connections that must live on, and counts that must stay flat.

SOAK_S is how long, in seconds (30 by default, ten minutes for a release), and SOAK_SEED repeats a run.

No drift here cuts a connection by itself. It damages what belongs to the containers `idle` and `spare`, which have no
connection: addresses, routes, cables, elements, a namespace and a bridge. It changes settings and flags of ports that let
packets pass either way, and adds foreign rules and tables. It does not flush the ruleset, or delete what a connection uses:
packets would stop before the agent knows of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import write

SOAK_S = float(os.environ.get("SOAK_S", "30"))
SETTLE_S = 60.0
GROWTH_MB = 6.0
"""Python's allocator keeps some of what a cycle needed most."""

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.timeout(int(SOAK_S) + 300)]

BASE = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  other: {cidr: 10.47.0.0/24}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  app: {networks: {front: 10.44.0.11}}
  db: {networks: {back: 10.45.0.20}, command: [sleep, infinity]}
  idle: {networks: {front: 10.44.0.30}, ports: ["9090:90", "9100-9109:9100-9109"]}
  spare: {networks: {other: 10.47.0.30}, command: [sleep, '100000']}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
  - {allow: idle, to: spare, ports: [80/tcp]}
"""
EDITS = (
    (),
    (('"9090:90"', '"9090:91"'),),
    (('"9090:90", ', ""),),
    (("  idle:", "  more: {networks: {other: auto}, command: [sleep, '99999']}\n  idle:"),),
    (("  idle:", "  many: {replicas: 4, networks: {front: auto}}\n  idle:"),),
    (("10.44.0.30", "10.44.0.31"),),
    (("  - {allow: idle, to: spare, ports: [80/tcp]}\n", ""),),
    (("10.47.0.0/24}", "10.47.0.0/24, mtu: 1400}"),),
    (("  other:", "  more: {cidr: 10.48.0.0/24}\n  other:"),),
    (("subnets:", "subnet:"),),  # wrong: the last good one stays
    (("version: 1", "version: ["),),
)
PROGRAM = """
import sys
from reconciler.agent import contest
from reconciler.cli.main import start
contest.REPAIRS_MAX = 10**9  # drift that comes so often is not left alone
sys.argv = ["netctl", "agent", sys.argv[1]]
start()
"""
PORT = "$(ip -o link show | sed -n 's/.*: \\(v-here[^@]*\\)@.*/\\1/p' | shuf -n 1)"
CHAIN = "$(nft list table inet netctl-here | sed -n 's/^\\tchain \\(.*\\) {/\\1/p' | shuf -n 1)"
DRIFT = (
    f"nft add rule inet netctl-here {CHAIN} ip saddr 203.0.113.9 counter",
    f"nft insert rule inet netctl-here {CHAIN} ip saddr 203.0.113.9 drop",
    "nft add chain inet netctl-here foreign",
    "nft add table inet foreign; nft delete table inet foreign",
    "nft delete element inet netctl-here published4 '{ tcp . 9090 }'",
    "nft delete element inet netctl-here published4 '{ tcp . 9103 }'",
    "ip -n here.idle address flush dev eth0",
    "ip -n here.idle address add 10.99.0.1/24 dev eth0",
    "ip -n here.idle route delete default",
    "ip -n here.idle link set eth0 down",
    "ip -n here.idle link delete eth0",
    "ip -n here.idle neighbor flush dev eth0 nud permanent",
    "ip netns delete here.idle",
    "ip link delete b-here-other",
    "ip address flush dev b-here-other",
    "ip -n here.spare link set eth0 mtu 1300",
    "pkill -9 -fx 'sleep 100000'",
    "ip link set b-here-front mtu 1400",
    f"bridge link set dev {PORT} learning on",
    f"bridge link set dev {PORT} mcast_flood on",
    f"ip link set dev {PORT} arp off",
    "echo 3 > /proc/sys/net/ipv4/neigh/b-here-front/mcast_solicit",
    "echo 1 > /proc/sys/net/ipv6/conf/b-here-front/accept_ra",
    "ip route add 198.51.101.0/24 via 192.0.2.1; ip route delete 198.51.101.0/24 via 192.0.2.1",
)


def open_connections(machine: Machine) -> list[Connection]:
    """In one subnet, between two subnets, from the host, by a published port from outside, and to the outside."""
    for netns, port in (("here.web", 80), ("here.db", 5432), ("world", 7)):
        start_server(machine, netns, port)
    ways = (
        ("here.app", "10.44.0.10", 80),
        ("here.web", "10.45.0.20", 5432),
        ("", "10.44.0.10", 80),
        ("world", "192.0.2.11", 8080),
        ("here.app", "192.0.2.1", 7),
    )
    return [Connection.open(machine, netns, address, port) for netns, address, port in ways]


def read_counts(agent: RunningAgent) -> dict[str, int]:
    """What must not grow: in the machine, and of the agent."""
    machine = agent.machine
    script = """
        echo links $(for each in '' $(ls /run/netns); do ip ${each:+-n $each} -o link show; done | wc -l)
        echo neighbors $(for each in '' $(ls /run/netns); do ip ${each:+-n $each} neighbor show nud permanent; done | wc -l)
        echo lines-of-nft $(nft list tables | grep netctl-here | while read -r table; do nft list $table; done | grep -vc expires)
        echo mounts $(grep -c ' /run/' /proc/self/mounts)
        echo processes $(ps -eo args= | grep -vc -e '^ps ' -e '^grep ' -e '^sh ')
        echo files-under-run $(find /run | wc -l)
    """
    found = {name: int(number) for name, number in (line.split() for line in machine.sh(script).splitlines())}
    return found | {"open-files": len(list(Path(f"/proc/{agent.running.pid}/fd").iterdir()))}


def read_memory_mb(agent: RunningAgent) -> float:
    """What the agent keeps in memory beside files."""
    lines = Path(f"/proc/{agent.running.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) / 1024


def calm(agent: RunningAgent, file: Path) -> None:
    """Return when all is in step by the file as it was, and the agent's worker rests."""
    file.write_text(BASE)
    agent.wait_for(lambda it: quick_netctl(it.machine, "diff", file)[0].status == 0, SETTLE_S)
    agent.wait_for(lambda it: it.state["in_step"] and not it.state["error"], SETTLE_S)
    agent.running.kill(signal.SIGHUP)  # a reading, so that there is a worker: another netctl may have ended it
    quiet, before = 0, ""
    while quiet < 10:  # a cycle may begin after the last event
        workers = agent.machine.run("pgrep", "-P", str(agent.state["pid"]), check=False).out
        quiet = quiet + 1 if workers and workers + agent.said == before else 0
        before = workers + agent.said
        time.sleep(0.15)


def test_connections_live_on_and_nothing_grows(furnished: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Drift and edits at random: no connection breaks, the machine ends as it was, and so do all counts."""
    seed = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
    lot, file = random.Random(seed), write(furnished, BASE)
    # A program of its own: the memory of a fork is partly the test's.
    running = furnished.start_command(sys.executable, "-c", PROGRAM, str(file))
    agent = RunningAgent(furnished, running, "here", "one").wait_ready()
    connections, done_so_far = open_connections(furnished), [f"seed {seed}"]

    def disturb(seconds: float) -> int:
        done, end_s = 0, time.monotonic() + seconds
        while time.monotonic() < end_s:
            if lot.random() < 0.25:
                text = BASE
                for before, after in (edits := lot.choice(EDITS)):
                    assert before in text
                    text = text.replace(before, after)
                file.write_text(text)
                done_so_far.append(str(edits))
            else:
                done_so_far.append(lot.choice(DRIFT))
                furnished.run("sh", "-c", done_so_far[-1], check=False)  # what it damages may not be there now
            done += 1
            time.sleep(lot.random() ** 3)
            for connection in connections:
                try:
                    connection.check()
                except AssertionError as error:
                    pytest.fail(f"{error}, after: " + "\n".join(done_so_far[-12:]) + f"\n{agent.said[-3000:]}")
        return done

    disturb(min(10.0, SOAK_S / 3))  # caches and allocators fill
    calm(agent, file)
    before, live, memory_mb = read_counts(agent), read_live(furnished), read_memory_mb(agent)
    number = disturb(SOAK_S)
    calm(agent, file)
    after, grown_mb = read_counts(agent), read_memory_mb(agent) - memory_mb
    with capsys.disabled():
        answers = ", ".join(f"{connection.answers[0]:,}" for connection in connections)
        print(f"\nagent: {number} disturbances in {SOAK_S:.0f} s (seed {seed}), {agent.state['repairs']:,} repairs")
        print(f"agent: answers {answers}")
        print(f"agent: {before}, then {after}; memory {memory_mb:.1f} MB and {grown_mb:+.1f} MB")
    for connection in connections:
        connection.check()
    assert differences(live, read_live(furnished)) == ""
    assert after == before
    assert grown_mb < GROWTH_MB
