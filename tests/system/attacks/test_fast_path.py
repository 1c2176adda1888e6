"""What the fast path must leave to the slow one: frames with a VLAN's tag, and packets that the other host would track."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from tests.harness.packets.build import IP4, IP6, ethernet, ip, udp
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received
from tests.system.attacks.test_containers import FAMILIES, bridge_of, hearing, mac_of, send, watching

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  routed: {cidr: [10.189.0.0/24, "fd00:189::/64"], overlay: routes}
containers:
  mallory: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}}
  r1: {host: alpha, networks: {routed: auto}, connections: 100}
  r3: {host: alpha, networks: {routed: auto}, connections: 100}
  r2: {host: beta, networks: {routed: auto}}
  i2: {host: beta, networks: {routed: {isolated: true}}}
"""
PIM, IGMP = 103, 2
TAGS = {"vlan": (0x8100, 5), "priority": (0x8100, 0), "service": (0x88A8, 5)}


def frames_to(spread: LabWorld, family: int, one: str, two: str, payload: bytes, source_ports: Iterable[int]) -> list[bytes]:
    """A datagram from each source port to port 9: over a VXLAN straight to the other container, by routes to the gateway."""
    router = mac_of(spread, "lab.alpha", bridge_of(spread, "routed")) if one.startswith("r") else mac_of(spread, two)
    own, source, target = mac_of(spread, one), spread.addresses(one)[family], spread.addresses(two)[family]
    packets = [udp(source, target, port, 9, payload) for port in source_ports]
    return [ethernet(own, router, IP6 if family else IP4, packet) for packet in packets]


@FAMILIES
@pytest.mark.parametrize(("one", "two"), [("mallory", "far"), ("r1", "r2")])
def test_a_tagged_frame_goes_nowhere(spread: LabWorld, family: int, one: str, two: str) -> None:
    """Neither to the other container, nor with the tag onto the underlay, where it would be in another VLAN."""
    (plain,) = frames_to(spread, family, one, two, b"hidden", [9])
    with watching(spread, "lab.beta") as wire, watching(spread, two) as target:
        for tag in TAGS.values():
            send(spread, one, plain[:12] + struct.pack("!HH", *tag) + plain[12:])
        assert not received(target, b"hidden", QUIET_S)
        assert not received(wire, b"hidden", 0.01)
        send(spread, one, plain)
        assert received(target, b"hidden", PATIENCE_S)


@pytest.mark.parametrize(("one", "family"), [("r1", 0), ("r3", 1)], ids=["IPv4", "IPv6"])
def test_a_share_holds_where_the_other_host_has_no_fast_path(spread: LabWorld, one: str, family: int) -> None:
    """An isolated port has none, so its host tracks what comes by routes; the sender's host counts it."""
    own = ip_address(spread.addresses(one)[family]).exploded
    send(spread, one, *frames_to(spread, family, one, "i2", b"x", range(2000, 2300)))
    with hearing(spread, "i2", 9) as server:
        send(spread, one, *frames_to(spread, family, one, "i2", b"the first", [2000]))
        assert received(server, b"the first", PATIENCE_S)
    tracked = spread.inside("lab.beta").run("cat", "/proc/net/nf_conntrack").stdout
    assert 50 <= sum(f"src={own} " in line for line in tracked.splitlines()) <= 100


@FAMILIES
@pytest.mark.parametrize(("one", "two"), [("mallory", "far"), ("r1", "r2")])
def test_what_only_routers_send_takes_no_fast_path(spread: LabWorld, family: int, one: str, two: str) -> None:
    """The filter at the port drops what a router of multicast or a DHCP server says, also to a single container."""
    ends = spread.addresses(one)[family], spread.addresses(two)[family]
    router = mac_of(spread, "lab.alpha", bridge_of(spread, "routed")) if one == "r1" else mac_of(spread, two)
    packets = [ip(*ends, PIM, b"\x20\0\xdf\xffhidden"), udp(*ends, 547 if family else 67, 9, b"hidden")]
    packets += [udp(*ends, 9, 546 if family else 68, b"hidden")]
    if not family:
        packets.append(ip(*ends, IGMP, b"\x11\x64\0\0" + bytes(4) + b"hidden"))
    with watching(spread, two) as target:
        for packet in packets:
            send(spread, one, ethernet(mac_of(spread, one), router, IP6 if family else IP4, packet))
        assert not received(target, b"hidden", QUIET_S)
