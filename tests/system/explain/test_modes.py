"""`explain` beside a real packet in the matrix of modes and bridges, on a host in a LAN with a router and a DHCP server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.worlds.lan import build_lan, serve_dhcp
from tests.harness.worlds.openvswitch import START

pytestmark = [pytest.mark.kernel, pytest.mark.long]

SECOND = """
ip link add eth1 address 02:aa:00:00:00:22 type veth peer name second netns switch
ip -n switch link set second master lan up
ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up; ip link set eth1 master br0 up
"""
"""A bridge that the host has already, with another cable to the LAN."""
BRIDGES = {"linux": "linux", "openvswitch": "openvswitch", "existing": "{existing: br0}"}
ON_LAN = ("direct", "macvlan")
ROWS = [
    *((mode, "linux") for mode in ("nat", "routed", "isolated", "direct", "macvlan")),
    *((mode, "openvswitch") for mode in ("nat", "routed", "isolated", "direct")),
    ("direct", "existing"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """On a LAN, with Open vSwitch, and a bridge of its own."""
    for name in ("root", "nft", "ping", "openvswitch", "dnsmasq", "udhcpc"):
        require_capability(name)
    made = Machine.make(tmp_path_factory.mktemp("matrix"))
    try:
        made.sh("ip netns add x; ip netns delete x")
        build_lan(made)
        serve_dhcp(made)
        made.sh(f"{START}{SECOND}")
        yield made
    finally:
        made.end()


def write(machine: Machine, mode: str, bridge: str) -> Path:
    """Two containers in the subnet, one that asks for its address if it is a LAN, and one elsewhere."""
    network = "192.0.2" if mode in ON_LAN else "10.44.0"
    more = "  asks: {networks: {net: dhcp}}\n" if mode in ON_LAN else ""
    path = machine.folder / "topology.yaml"
    path.write_text(
        f"version: 1\nname: here\nhosts: {{one: {{connect: local}}}}\nsubnets:\n"
        f"  net: {{cidr: {network}.0/24, mode: {mode}, bridge: {BRIDGES[bridge]}}}\n  other: {{cidr: 10.45.0.0/24}}\n"
        f"containers:\n  web: {{networks: {{net: {network}.50}}}}\n  app: {{networks: {{net: {network}.51}}}}\n{more}"
        "  far: {networks: {other: 10.45.0.10}, ports: ['8080:80']}\n"
        + ("" if mode in ON_LAN else "policies: [{allow: far, to: app, ports: [80/tcp]}]\n")
    )
    return path


def questions(mode: str) -> dict[tuple[str, str], bool | None]:
    """What passes; None where it depends on machines that are not in the file."""
    is_open = mode != "isolated"
    asked: dict[tuple[str, str], bool | None] = {
        ("web", "app"): True,
        ("web", "app:80"): True,
        ("one", "web"): True,
        ("web", "192.0.2.1"): None if mode == "routed" else is_open,
        ("web", "203.0.113.10"): None if mode == "routed" else is_open,
        ("far", "app:80"): True,
        ("far", "192.0.2.1"): True,
        ("web", "192.0.2.11:8080"): True,
    }
    return asked | ({("asks", "web"): True, ("asks", "192.0.2.1"): True} if mode in ON_LAN else {})


@pytest.mark.parametrize(("mode", "bridge"), ROWS)
def test_each_cell_of_the_matrix(machine: Machine, mode: str, bridge: str) -> None:
    """Each path is that of the real packet: the same rules, the same flows, the same end."""
    file = write(machine, mode, bridge)
    done = machine.netctl("apply", file)
    assert done.status == 0, done.err
    try:
        if mode in ON_LAN:
            machine.sh("until ip -n here.asks -4 address show dev eth0 | grep -q inet; do sleep 0.1; done")
        asked = questions(mode) | ({("web", "203.0.113.10"): None} if bridge == "existing" else {})  # its router is not known
        wrong = [fault for (start, target), passes in asked.items() for fault in faults(machine, file, start, target, passes)]
    finally:
        machine.netctl("destroy", file)
    assert wrong == [], "\n".join(wrong)


def faults(machine: Machine, file: Path, start: str, target: str, passes: bool | None) -> Iterator[str]:
    """What the packet did otherwise."""
    done = machine.netctl("explain", start, target, "--trace", "--json", "-f", file)
    if done.status not in (0, 1):
        yield f"{start} -> {target}: {done.err}"
        return
    for path in json.loads(done.out)["paths"]:
        trace = path["trace"]
        rules = [rule for rule in trace["rules"] if rule["expected"] != rule["seen"]]
        if passes is not None and path["passes"] != passes:
            yield f"{start} -> {target}: {path['end']}, {path['reason']}"
        if (passes is not None and not trace["agrees"]) or rules:
            yield f"{start} -> {target} {path['packet']}: {trace.get('outcome')} {trace.get('why_not')} {path['end']} {rules}"
