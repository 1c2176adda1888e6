"""`verify` finds open doors with frames made by hand, from a container, a neighbour and a foreign link, and harms nothing.

Some tests open a door with rules of their own. They rewrite a packet before any rule of netctl's sees it, and its answer after
all of them. So they open it whatever keeps it shut.
"""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.probes.clients import Clients
from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.topologies.local import write
from tests.harness.worlds.openvswitch import START

pytestmark = pytest.mark.kernel

LAB = """\
version: 1
name: lo
hosts: {h: {connect: lab, address: 192.0.2.11}, mallory: {connect: lab, address: 192.0.2.66}}
subnets: {a: {cidr: 10.44.0.0/24}}
containers: {db: {host: h, networks: {a: auto}, ports: ["127.0.0.1:5432:5432"]}}
"""
BY_ALL_ADDRESSES = LAB.replace('"]', '", "15432:5432"]')
PARTED = """\
version: 1
name: lo
hosts: {h: {connect: HOST}}
subnets:
  a: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: BRIDGE}
  b: {cidr: 10.45.0.0/24, mode: isolated, bridge: BRIDGE}
containers:
  one: {networks: {a: {address: auto, isolated: true}}, ports: ["127.0.0.1:5432:5432"]}
  two: {networks: {a: {address: auto, isolated: true}, b: auto}}
  web: {networks: {a: auto}, ports: ["8080:80", "53:53/udp"]}
  db: {networks: {b: auto}}
"""
SPREAD = """\
version: 1
name: lo
hosts: {h: {connect: lab, address: 192.0.2.11}, other: {connect: lab, address: 192.0.2.12}}
subnets: {a: {cidr: 10.44.0.0/24, overlay: OVERLAY}}
containers:
  one: {host: h, networks: {a: auto}, ports: ["8080:80"]}
  two: {host: other, networks: {a: auto}}
"""
DOOR = """
table netdev door {
    chain arriving {
        type filter hook ingress device "eth0" priority -500
        ip daddr 127.0.0.1 tcp dport 5432 tcp dport set 15432 ip daddr set 192.0.2.11
    }
}
table ip door {
    chain arriving {
        type filter hook prerouting priority -500
        iifname "n-*" ip daddr 127.0.0.1 tcp dport 5432 tcp dport set 15432 ip daddr set 192.0.2.11
    }
    chain leaving {
        type filter hook postrouting priority 500
        tcp sport 15432 ip saddr 192.0.2.11 oifname "n-*" tcp sport set 5432 ip saddr set 127.0.0.1
        tcp sport 15432 ip saddr 192.0.2.11 ip daddr 192.0.2.1 tcp sport set 5432 ip saddr set 127.0.0.1
    }
}
"""
LIVE = r"""
ip link; ip address; ip route show table all; ip rule; bridge link
nft -s list ruleset | sed '/^\tset \(known4\|known6\|askers\|openers\) {/,/^\t}/d'
"""
"""All but what packets write."""


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine of the test's own, with nothing in it."""
    require_capability("root")
    require_capability("nft")
    made = Machine.make(tmp_path_factory.mktemp("machine"))
    try:
        made.sh("ip netns add x; ip netns delete x")
        yield made
    finally:
        made.end()


def apply(machine: Machine, text: str) -> None:
    done = machine.netctl("apply", write(machine, text))
    assert done.status == 0, done.err


def verify(machine: Machine, status: int) -> list[dict[str, Any]]:
    """All rows of JSON, after it ended as said."""
    done = machine.netctl("verify", "--json", machine.folder / "topology.yaml")
    rows: list[dict[str, Any]] = json.loads(done.out)["probes"]
    wrong = [f"{row['source']} -> {row['target']}: {row['kind']} {row['outcome']}" for row in rows if not row["passed"]]
    assert done.status == status, wrong
    return rows


def at_localhost(rows: list[dict[str, Any]]) -> list[tuple[str, str, int, str]]:
    """What was asked of the host's localhost from elsewhere."""
    return [
        (row["source"], row["target"], row["port"], row["outcome"])
        for row in rows
        if row["address"] == "127.0.0.1" and row["section"] == "forbidden"
    ]


def test_a_port_on_localhost_is_closed_to_others(machine: Machine) -> None:
    """A neighbour, a foreign link and a container get no answer from a port that is published on 127.0.0.1."""
    apply(machine, LAB)
    asked = [(source, "host h", 5432, "silent") for source in ("a neighbour", "a foreign link", "db")]
    assert at_localhost(verify(machine, 0)) == asked


def test_an_open_port_on_localhost_is_named(machine: Machine) -> None:
    """If packets to localhost come in by the uplink and by a foreign link, verify ends with 6 and names host, port and rule."""
    apply(machine, BY_ALL_ADDRESSES)
    machine.run("nft", "-f", "-", text=DOOR, netns="lo.lab.h")
    found = at_localhost(verify(machine, 6))
    assert found[:2] == [(source, "host h", 5432, "answered") for source in ("a neighbour", "a foreign link")]
    told = machine.netctl("verify", machine.folder / "topology.yaml").out
    assert "FAIL a neighbour -> host h (127.0.0.1), tcp 5432: was answered, though localhost serves processes of h only" in told
    assert "likely: packets to 127.0.0.0/8 come in by a link other than lo" in told


@pytest.mark.parametrize("bridge", ["linux", "openvswitch"])
def test_no_door_is_open(machine: Machine, bridge: str) -> None:
    """Link-local groups, router advertisements, unknown addresses, and isolated ports by their gateway: nothing arrives."""
    host = "{connect: lab, address: 192.0.2.11}"
    if bridge == "openvswitch":
        require_capability("openvswitch")
        machine.sh(START)
        host = "{connect: local}"
    apply(machine, PARTED.replace("{connect: HOST}", host).replace("BRIDGE", bridge))
    rows = verify(machine, 0)
    asked = {row["kind"] for row in rows if row["outcome"] == "silent"}
    assert asked >= {"link-local group", "router advertisement", "unknown address", "by its gateway"}


@pytest.mark.parametrize("overlay", ["vxlan", "routes"])
def test_no_door_is_open_between_hosts(machine: Machine, overlay: str) -> None:
    """The same of a subnet on two hosts; over routes, a frame for another than the host does not reach the other one."""
    apply(machine, SPREAD.replace("OVERLAY", overlay))
    rows = verify(machine, 0)
    misdirected = [row["outcome"] for row in rows if row["kind"] == "udp" and row["section"] == "forbidden"]
    assert misdirected == (["silent"] * 4 if overlay == "routes" else [])


def test_a_flooding_port_is_named(machine: Machine) -> None:
    """A port of a Linux bridge that gets frames for unknown addresses is found, by the container behind it."""
    apply(machine, PARTED.replace("HOST", "lab, address: 192.0.2.11").replace("BRIDGE", "linux"))
    machine.sh(
        "for port in $(ip -br link show type veth | grep -o '^v-[^@ ]*'); do bridge link set dev $port flood on; done", "lo.lab.h"
    )
    rows = verify(machine, 6)
    flooded = {(row["source"], row["target"]) for row in rows if row["kind"] == "unknown address" and not row["passed"]}
    assert flooded == {("two", "web"), ("web", "one"), ("two", "db"), ("db", "two")}  # isolated ones do not flood to each other


def test_verify_changes_nothing(machine: Machine) -> None:
    """Links, addresses, routes, rules and tables of the host are after it what they were before, byte for byte."""
    apply(machine, LAB)
    before = machine.sh(LIVE, "lo.lab.h")
    machine.netctl("verify", machine.folder / "topology.yaml")
    assert machine.sh(LIVE, "lo.lab.h") == before


def test_a_killed_verify_leaves_no_link(machine: Machine) -> None:
    """Killed with SIGKILL while its foreign link is there, verify leaves neither the link nor its address on the host."""
    apply(machine, LAB)
    before = machine.sh(LIVE, "lo.lab.h")
    running = machine.start_netctl("verify", machine.folder / "topology.yaml")
    deadline = time.monotonic() + 20
    while " n-" not in machine.sh("ip link", "lo.lab.h"):
        assert time.monotonic() < deadline, "the foreign link was not seen"
        time.sleep(0.01)
    running.kill(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while machine.sh(LIVE, "lo.lab.h") != before:
        assert time.monotonic() < deadline, machine.sh(LIVE, "lo.lab.h")
        time.sleep(0.05)


def test_another_command_ignores_the_link(machine: Machine) -> None:
    """While a verify runs, `diff` finds no difference: its link is a foreign one, and netctl neither reports nor deletes it."""
    apply(machine, LAB)
    running = machine.start_netctl("verify", machine.folder / "topology.yaml")
    deadline = time.monotonic() + 20
    while " n-" not in machine.sh("ip link", "lo.lab.h"):
        assert time.monotonic() < deadline, "the foreign link was not seen"
        time.sleep(0.01)
    done = machine.netctl("diff", machine.folder / "topology.yaml")
    assert done.status == 0, done.out + done.err
    running.wait()


class Endless(socket.socket):
    """A socket in which there is always another packet, of no interest."""

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, tuple[str, int]]:
        return bytes(28), ("192.0.2.1", 0)


def test_a_flood_holds_up_no_probe() -> None:
    """A container that sends faster than `verify` reads does not keep it from its other sockets and the time."""
    clients = Clients((), (), lambda _: None)
    with Endless() as flooded:
        reading = threading.Thread(target=clients._receive_icmp, args=(flooded, 4), daemon=True)
        reading.start()
        reading.join(10)
        assert not reading.is_alive()
