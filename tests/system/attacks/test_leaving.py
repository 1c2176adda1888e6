"""What leaves a host by its uplink with a container's own address: nothing from a NATed or an isolated subnet."""

from __future__ import annotations

import struct

import pytest

from tests.harness.packets.build import ICMP6, IP4, IP6, ethernet, ip, udp, with_checksum
from tests.harness.worlds.overlay import QUIET_S, LabWorld, received
from tests.system.attacks.test_containers import FAMILIES, OUTSIDE, bridge_of, mac_of, send, watching

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  open: {cidr: [10.187.0.0/24, "fd00:187::/64"], mode: routed}
  let: {cidr: [10.188.0.0/24, "fd00:188::/64"], mode: isolated}
  shut: {cidr: [10.189.0.0/24, "fd00:189::/64"], mode: isolated}
containers:
  web: {networks: {front: auto, shut: auto}}
  app: {networks: {open: auto, shut: auto}}
  db: {networks: {let: auto}}
policies:
  - {allow: db, to: outside, ports: [443/tcp]}
"""
TCP, SYN, ACK, RST, FIN = 6, 2, 16, 4, 1


def segment(source: str, target: str, flags: int, payload: bytes) -> bytes:
    """A TCP segment to port 443."""
    data = struct.pack("!HHIIBBHHH", 1000 + flags, 443, 1, 1, 5 << 4, flags, 1000, 0, 0) + payload
    return ip(source, target, TCP, with_checksum(source, target, TCP, data, 16))


def solicitation(source: str, target: str, payload: bytes) -> bytes:
    """A neighbor solicitation to a distant node, which connection tracking leaves alone."""
    data = struct.pack("!BBHI", 135, 0, 0, 0) + bytes(16) + payload
    return ip(source, target, ICMP6, with_checksum(source, target, ICMP6, data, 2))


def leave(spread: LabWorld, container: str, subnet: str, *packets: bytes) -> bool:
    """Whether one of the packets is seen at the uplink, once the container has sent them to its gateway there."""
    kind = IP4 if packets[0][0] >> 4 == 4 else IP6
    own, router = mac_of(spread, container), mac_of(spread, "lab.alpha", bridge_of(spread, subnet))
    ends = packets[0][12:20] if kind == IP4 else packets[0][8:40]
    with watching(spread, "lab.alpha") as wire:
        send(spread, container, *(ethernet(own, router, kind, packet) for packet in packets))
        return received(wire, ends, QUIET_S)


@FAMILIES
@pytest.mark.parametrize(("container", "subnet"), [("web", "front"), ("app", "open")])
def test_an_isolated_address_leaves_by_no_other_network(spread: LabWorld, family: int, container: str, subnet: str) -> None:
    """A container has a second network, and sends from its address in an isolated one."""
    inner = spread.addresses(container, "eth1")[family]
    assert not leave(spread, container, subnet, udp(inner, OUTSIDE[family], 9, 9, b"x"))
    outer = spread.addresses(container)[family]
    assert leave(spread, container, subnet, udp(outer, OUTSIDE[family], 9, 9, b"x")) == (subnet == "open")


@FAMILIES
@pytest.mark.parametrize(("container", "subnet"), [("web", "front"), ("db", "let")])
def test_what_is_of_no_connection_does_not_leave(spread: LabWorld, family: int, container: str, subnet: str) -> None:
    """Masquerading has no connection for these packets, so they would leave as they are."""
    ends = spread.addresses(container)[family], OUTSIDE[family]
    segments = [segment(*ends, flags, b"x") for flags in (0, FIN, RST, SYN | ACK, FIN | ACK, SYN | FIN)]
    assert not leave(spread, container, subnet, *segments)
    if family:
        assert not leave(spread, container, subnet, solicitation(*ends, b"x"))
    with spread.serving("lab.outside", 443):
        assert spread.ask(container, OUTSIDE[family], 443).startswith("lab.outside")
