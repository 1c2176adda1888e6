"""What is measured: N containers in one subnet of one lab host, each with a published port.

Used by run.py, which writes the topology file, and by the floors, which make the same things by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from reconciler.state.naming import ROUTE_PROTOCOL, Alias, group_of, interface_name, mac_of

TOPOLOGY = "bench"
SUBNET = "front"
PREFIX = 20
NETWORK = "10.88.0.0"
GATEWAY = "10.88.0.1"
HOST = f"{TOPOLOGY}.lab.alpha"
ROUTER = f"{TOPOLOGY}.lab.router"
OUTSIDE = f"{TOPOLOGY}.lab.outside"
BRIDGE = interface_name("b-", TOPOLOGY, SUBNET)
BRIDGE_MAC = mac_of(TOPOLOGY, "alpha", SUBNET)
GROUP = group_of(TOPOLOGY)
PROTOCOL = ROUTE_PROTOCOL
FIRST_PORT = 20000
WIDE_RANGE = 10_000
"""How many ports the wide case publishes in one line."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One container's link: everything that either floor writes to the kernel for it."""

    name: str
    netns: str
    address: str
    mac: str
    port_name: str
    alias: str
    altname: str


def wires(count: int) -> list[Wire]:
    """The links of `count` containers, named, numbered and marked as netctl does it."""
    base = int(IPv4Address(NETWORK)) + 256
    result = []
    for number in range(count):
        name = f"c{number}"
        result.append(
            Wire(
                name=name,
                netns=f"{TOPOLOGY}.{name}",
                address=str(IPv4Address(base + number)),
                mac=mac_of(TOPOLOGY, name, SUBNET),
                port_name=interface_name("v-", TOPOLOGY, name, SUBNET),
                alias=str(Alias(TOPOLOGY, "veth", name, SUBNET)),
                altname=f"{TOPOLOGY}-{name}-{SUBNET}",
            )
        )
    return result


def topology_text(count: int, *, wide: int = 0, extra: bool = False, is_local: bool = False) -> str:
    """The topology file. `wide` publishes that many ports of c0 by one range; `extra` publishes one port more.

    The host is a lab host, or with `is_local` this machine.
    """
    lines = [
        "version: 1",
        f"name: {TOPOLOGY}",
        "hosts:",
        "  alpha: {connect: local}" if is_local else "  alpha: {connect: lab, address: 192.0.2.11}",
        "subnets:",
        f"  {SUBNET}: {{cidr: {NETWORK}/{PREFIX}, mode: nat}}",
        "containers:",
    ]
    for number, wire in enumerate(wires(count)):
        ports = [f'"{FIRST_PORT + number}:80"']
        if number == 0 and wide:
            ports.append(f'"{FIRST_PORT + 10_000}-{FIRST_PORT + 9_999 + wide}:{10_000}-{9_999 + wide}"')
        if number == 0 and extra:
            ports.append('"19999:81"')
        lines.append(f"  {wire.name}: {{host: alpha, networks: {{{SUBNET}: {wire.address}}}, ports: [{', '.join(ports)}]}}")
    return "\n".join(lines) + "\n"
