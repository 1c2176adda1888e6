"""More of `test_containers`: ways past isolation, the fast path, shares and ICMP errors that need a second network or host."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from reconciler.compile.addresses import link_local_of
from tests.harness.packets.build import ICMP, ICMP6, IP4, IP6, checksum, ethernet, ip, udp, unreachable, with_checksum
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received
from tests.system.attacks.test_containers import (
    FAMILIES,
    HOST,
    OUTSIDE,
    bridge_of,
    errors_of,
    gateway,
    hearing,
    mac_of,
    read_tracked,
    send,
    watching,
)

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
subnets:
  front: {cidr: [10.186.0.0/16, "fd00:186::/64"]}
  back: {cidr: [10.187.0.0/24, "fd00:187::/64"], overlay: none, hosts: [alpha]}
  side: {cidr: [10.188.0.0/24, "fd00:188::/64"], mode: routed, overlay: none, hosts: [alpha]}
  routed: {cidr: [10.189.0.0/24, "fd00:189::/64"], overlay: routes}
containers:
  mallory: {host: alpha, networks: {front: auto}}
  bob: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}}
  greedy: {host: beta, networks: {front: auto}, connections: 200}
  open: {host: alpha, networks: {side: auto}}
  i1: {host: alpha, networks: {front: {isolated: true}}}
  i2: {host: alpha, networks: {front: {isolated: true}}}
  i3: {host: beta, networks: {front: {isolated: true}}}
  j1: {host: alpha, networks: {routed: {isolated: true}, back: auto}}
  j2: {host: alpha, networks: {routed: {isolated: true}}}
  j3: {host: beta, networks: {routed: {isolated: true}}}
  r1: {host: alpha, networks: {routed: auto}}
  r2: {host: beta, networks: {routed: auto}}
"""
BETA = ("192.0.2.12", "2001:db8::12")
ELSEWHERE = pytest.mark.parametrize(("one", "two", "subnet"), [("mallory", "far", "front"), ("r1", "r2", "routed")])


def kind_of(family: int) -> int:
    return IP6 if family else IP4


def too_big(source: str, target: str, about: bytes) -> bytes:
    """An ICMP error from `source`: the packet `about` does not fit, as the kernel believes it of any echo reply."""
    if ":" in source:
        return ip(source, target, ICMP6, with_checksum(source, target, ICMP6, struct.pack("!BBHI", 2, 0, 0, 1280) + about, 2))
    data = struct.pack("!BBHHH", 3, 4, 0, 0, 600) + about[:48]
    return ip(source, target, ICMP, data[:2] + struct.pack("!H", checksum(data)) + data[4:])


def echo_reply(source: str, target: str) -> bytes:
    if ":" in source:
        return ip(source, target, ICMP6, with_checksum(source, target, ICMP6, struct.pack("!BBHQ", 129, 0, 0, 7), 2))
    return ip(source, target, ICMP, struct.pack("!BBHI", 0, 0, 0xFFFF, 0))


# --- ICMP errors ------------------------------------------------------------------------------------------------------


@FAMILIES
def test_a_container_changes_no_path_mtu_of_a_host(spread: LabWorld, family: int) -> None:
    """A host believes no container about what it sent to another host, to another container or to the outside."""
    places = (("mallory", "front", "lab.alpha", HOST[family]), ("open", "side", "lab.beta", BETA[family]))
    for attacker, subnet, victim, own in places:
        router = mac_of(spread, "lab.alpha", bridge_of(spread, subnet))
        for goal in (HOST[family], BETA[family], OUTSIDE[family], spread.addresses("bob")[family]):
            if goal == own:
                continue
            error = too_big(spread.addresses(attacker)[family], own, echo_reply(own, goal))
            send(spread, attacker, ethernet(mac_of(spread, attacker), router, kind_of(family), error))
            time.sleep(0.05)
            assert " mtu " not in spread.inside(victim).run("ip", "route", "get", goal).stdout


@FAMILIES
def test_a_host_hears_errors_from_the_ends_of_its_connections(spread: LabWorld, family: int) -> None:
    """Of a host's own connection to a container here or elsewhere that container reports errors, and no other does."""
    router, own = mac_of(spread, "lab.alpha", bridge_of(spread, "front")), gateway(spread, "front", family)
    for peer in ("bob", "far"):
        goal = spread.addresses(peer)[family]
        with hearing(spread, "lab.alpha", 7100, "::" if family else "0.0.0.0") as server, hearing(spread, peer, 7101):
            server.setsockopt(socket.IPPROTO_IPV6 if family else socket.IPPROTO_IP, 25 if family else 11, 1)
            server.connect((goal, 7101))
            server.send(b"hi")
            about = udp(own, goal, 7100, 7101, b"hi")
            for sender, heard in (("mallory", False), (peer, True)):
                error = unreachable(spread.addresses(sender)[family], own, about)
                send(spread, sender, ethernet(mac_of(spread, sender), router, kind_of(family), error))
                assert errors_of(server, PATIENCE_S if heard else QUIET_S) == heard


# --- the fast path ----------------------------------------------------------------------------------------------------


@ELSEWHERE
def test_the_fast_path_takes_no_control_messages(spread: LabWorld, one: str, two: str, subnet: str) -> None:
    """What the bridge's filter drops also arrives at no container on another host: DHCP replies, redirects, queries."""
    (own, own6), (goal, goal6) = spread.addresses(one), spread.addresses(two)
    to = mac_of(spread, two) if subnet == "front" else mac_of(spread, "lab.alpha", bridge_of(spread, subnet))
    redirect = struct.pack("!BBH4s", 5, 1, 0, socket.inet_aton(own)) + b"control"
    router = struct.pack("!BBHI", 9, 0, 0, 0) + b"control"
    query = struct.pack("!BBHI", 0x11, 10, 0, 0) + b"control"
    packets = [(IP4, ip(own, goal, protocol, data[:2] + struct.pack("!H", checksum(data)) + data[4:]))
               for protocol, data in ((ICMP, redirect), (ICMP, router), (socket.IPPROTO_IGMP, query))]  # fmt: skip
    packets += [(IP4, udp(own, goal, port, 68, b"control")) for port in (67, 1067)]
    packets += [(IP6, udp(own6, goal6, port, 546, b"control")) for port in (547, 1547)]
    with watching(spread, two) as there:
        send(spread, one, *(ethernet(mac_of(spread, one), to, kind, packet) for kind, packet in packets))
        assert not received(there, b"control", QUIET_S)
        send(spread, one, ethernet(mac_of(spread, one), to, IP4, udp(own, goal, 1067, 69, b"ordinary")))
        assert received(there, b"ordinary", PATIENCE_S)


# --- isolated ports ---------------------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("two", ["j2", "j3"])
def test_a_second_network_is_no_way_around_isolation(spread: LabWorld, family: int, two: str) -> None:
    """An isolated container reaches no other by the gateway of its other network, whichever of its addresses it uses."""
    goal = spread.addresses(two)[family]
    router = mac_of(spread, "lab.alpha", bridge_of(spread, "back"))
    with hearing(spread, two, 9997) as there:
        for dev in ("eth0", "eth1"):
            own = spread.addresses("j1", dev)[family]
            packet = udp(own, goal, 9, 9997, b"sideways")
            send(spread, "j1", ethernet(mac_of(spread, "j1", "eth1"), router, kind_of(family), packet), dev="eth1")
        assert not received(there, b"sideways", QUIET_S)


@pytest.mark.parametrize("two", ["i2", "i3"])
def test_a_router_joins_no_isolated_ports_by_link_local_addresses(spread: LabWorld, two: str) -> None:
    """A frame to a gateway, with another isolated container's link-local address, arrives there from none of the own ones."""
    own = mac_of(spread, "i1")
    goal = link_local_of(mac_of(spread, two))
    with watching(spread, two) as there:
        for source in (link_local_of(own), spread.addresses("i1")[1]):
            for host in ("alpha", "beta"):
                router = mac_of(spread, f"lab.{host}", bridge_of(spread, "front", host))
                send(spread, "i1", ethernet(own, router, IP6, udp(source, goal, 9, 9, b"link-local")))
        assert not received(there, b"link-local", QUIET_S)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_share_holds_on_another_host(spread: LabWorld) -> None:
    """A container has its share on a host that it reaches by a VXLAN, too, also if its own host tracks no bridged frame."""
    for host in ("lab.alpha", "lab.beta"):
        settings = [f"net.bridge.bridge-nf-call-{name}=0" for name in ("iptables", "ip6tables")]
        spread.inside(host).run("sysctl", "-qw", *settings, check=False)
    own, source = spread.addresses("greedy")[0], mac_of(spread, "greedy")
    router, goal = mac_of(spread, "lab.alpha", bridge_of(spread, "front")), gateway(spread, "front", 0)
    send(spread, "greedy", *(ethernet(source, router, IP4, udp(own, goal, 1024 + number, 4000, b"x")) for number in range(600)))
    time.sleep(QUIET_S)
    assert 150 <= read_tracked(spread, own) <= 201
    assert not spread.unreachable([("far", goal)])


@FAMILIES
def test_unused_addresses_wait_in_no_table(spread: LabWorld, family: int) -> None:
    """Packets to addresses that nothing has leave no entry in the host's neighbor table that waits for an answer."""
    router, bridge = mac_of(spread, "lab.alpha", bridge_of(spread, "front")), bridge_of(spread, "front")
    goals = [f"fd00:186::1:{number:x}" if family else f"10.186.99.{number}" for number in range(1, 40)]
    own = spread.addresses("mallory")[family]
    frames = [ethernet(mac_of(spread, "mallory"), router, kind_of(family), udp(own, goal, 9, 9, b"x")) for goal in goals]
    send(spread, "mallory", *frames)
    shown = spread.inside("lab.alpha").run("ip", f"-{6 if family else 4}", "neigh", "show", "dev", bridge).stdout
    assert "INCOMPLETE" not in shown
    pairs = [("lab.alpha", spread.addresses(name)[family]) for name in ("bob", "far", "i3")]
    assert not spread.unreachable([*pairs, ("bob", gateway(spread, "front", family)), ("far", spread.addresses("bob")[family])])


def test_nothing_differs_afterwards(spread: LabWorld) -> None:
    """After all of this netctl has nothing to repair, and its own probes pass."""
    spread.apply(TEXT.replace("connections: 200", "connections: 20000"))  # it has used up its share
    spread.verify()
