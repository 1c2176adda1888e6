"""Attacks by a container on a LAN: by a direct bridge of Open vSwitch, and by a macvlan."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.packets.attacker import attack, learnt, mac_of
from tests.harness.packets.forged import (
    MULTICAST_SOURCE,
    false_arp,
    false_servers,
    hidden_advertisements,
    multicast_routers4,
    multicast_routers6,
    never,
    poisoned_discovery,
    reports,
    router_advertisement,
    to_link_local_groups,
)
from tests.harness.packets.frames import IP4, IP6, Node, ethernet, good_frames, ip6, udp4
from tests.harness.worlds.lan import build_lan, pings, write
from tests.harness.worlds.openvswitch import START

pytestmark = pytest.mark.kernel

DIRECT = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct, bridge: openvswitch}}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  app: {networks: {lan: [192.0.2.51, "2001:db8::51"]}}
"""
MACVLAN = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: macvlan}}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  app: {networks: {lan: [192.0.2.51, "2001:db8::51"]}}
"""
UNKNOWN = "02:00:00:00:00:99"
SWITCH = "b-here-lan"
PLACES = {
    "app": ("here.app", "eth0"),
    "host": ("", SWITCH),
    "other": ("other", "eth0"),
    "router": ("router", "eth0"),
}


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with an uplink on a LAN, which accepts router advertisements as the kernel does by default."""
    for name in ("root", "nft", "ping"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("host"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        yield machine
    finally:
        machine.end()


@pytest.fixture
def switched(host: Machine) -> Machine:
    """Its containers are on the LAN by a bridge of Open vSwitch."""
    require_capability("openvswitch")
    host.sh(START)
    # A switch hands frames on as they are, padding and all.
    host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 || true", netns="switch")
    applied = host.netctl("apply", write(host, DIRECT))
    assert applied.status == 0, applied.err
    return host


def nodes(machine: Machine) -> tuple[Node, Node]:
    """The attacker and a victim."""
    own = Node(mac_of(machine, "here.web"), "192.0.2.50", "2001:db8::50")
    return own, Node(mac_of(machine, "here.app"), "192.0.2.51", "2001:db8::51")


SHIM = {"shim": ("", "m-here-lan")}
"""The host's own macvlan."""


def nowhere() -> dict[str, set[str]]:
    return {name: set() for name in PLACES}


def test_what_a_container_sends_onto_a_lan(switched: Machine) -> None:
    """Nothing forged leaves by the uplink, or reaches the host or another container; all that is honest does."""
    own, other = nodes(switched)
    sources = (own.mac, other.mac, mac_of(switched, "", SWITCH), mac_of(switched, "router"), UNKNOWN, MULTICAST_SOURCE)
    assert attack(switched, to_link_local_groups(own, other, sources), "here.web", PLACES) == nowhere()
    for target in (mac_of(switched, "router"), "ff:ff:ff:ff:ff:ff"):
        assert attack(switched, never(own, other, target), "here.web", PLACES) == nowhere()
    forged = {
        **false_servers(own, other),
        **false_arp(own, other, "192.0.2.1"),
        **poisoned_discovery(own, other),
        **{name: frame for name, frame in hidden_advertisements(own).items() if not name.endswith(": last")},
    }
    assert attack(switched, forged, "here.web", PLACES) == nowhere()
    good = good_frames(own, other, in_lan=True)
    assert attack(switched, good, "here.web", PLACES) == {name: set(good) for name in PLACES}
    assert learnt(switched, SWITCH) == []


def test_a_container_is_no_multicast_router_of_a_lan(switched: Machine) -> None:
    """No greeting of PIM, no general query and no router of multicast leaves; reports for the LAN's switches do.

    OpenFlow sees no types of IGMP (SECURITY.md): a query of a group has the look of a report, and a question that of a farewell.
    """
    own, other = nodes(switched)
    heard = {name: place for name, place in PLACES.items() if name in ("app", "router")}
    frames = multicast_routers4(own, other) | multicast_routers6(own)
    arrived = attack(switched, frames, "here.web", heard)
    assert {name.partition(":")[0] for names in arrived.values() for name in names} == {
        "query of a group",
        "question for multicast routers",
        "pim of version 1",
    }
    honest = reports(own)
    assert attack(switched, honest, "here.web", heard) == {name: set(honest) for name in heard}


def test_unicast_goes_to_one_port(switched: Machine) -> None:
    """From a container: to a container, the host, or else the LAN. From the LAN: to a container, or else the host."""
    own, other = nodes(switched)
    router = mac_of(switched, "router")
    frames = {
        "to app": ethernet(own.mac, IP4, udp4(own.ip4, other.ip4), other.mac),
        "to the host": ethernet(own.mac, IP4, udp4(own.ip4, "192.0.2.11"), mac_of(switched, "", SWITCH)),
        "to the router": ethernet(own.mac, IP4, udp4(own.ip4, "192.0.2.1"), router),
    }
    # The LAN's own switch floods what it does not know.
    unknown = {"to nobody": ethernet(own.mac, IP4, udp4(own.ip4, "192.0.2.77"), UNKNOWN)}
    assert attack(switched, frames, "here.web", PLACES)["app"] == {"to app"}
    arrived = attack(switched, {**frames, **unknown}, "here.web", PLACES)
    assert arrived["app"] == {"to app"}
    assert arrived["host"] == {"to the host"}
    assert arrived["router"] == {"to the router", "to nobody"}
    from_lan = {
        "to web": ethernet(router, IP4, udp4("192.0.2.1", own.ip4), own.mac),
        "to nobody": ethernet(router, IP4, udp4("192.0.2.1", "192.0.2.77"), UNKNOWN),
        "as web": ethernet(own.mac, IP4, udp4("192.0.2.1", other.ip4), other.mac),
        "as the host": ethernet(mac_of(switched, "", SWITCH), IP4, udp4("192.0.2.1", other.ip4, 7), other.mac),
    }
    places = {"web": ("here.web", "eth0"), "app": ("here.app", "eth0")}
    assert attack(switched, from_lan, "router", places) == {"web": {"to web"}, "app": {"as web", "as the host"}}
    assert learnt(switched, SWITCH) == []
    for target in ("192.0.2.50", "2001:db8::51", "192.0.2.11"):
        assert pings(switched, target, "other"), "what the LAN sends as a container moves no address"


def test_vlans_of_the_host_stay_beside_the_containers(switched: Machine) -> None:
    """The host's own VLANs go by the uplink, and no container sees their frames; a priority tag is taken off."""
    tagged = {
        f"to {target}": ethernet(
            mac_of(switched, "", SWITCH), 0x8100, b"\x00\x07\x08\x00" + udp4("192.0.2.11", "192.0.2.30"), target
        )
        for target in (mac_of(switched, "other"), "ff:ff:ff:ff:ff:ff")
    }
    places = {"web": ("here.web", "eth0"), "other": ("other", "eth0")}
    assert attack(switched, tagged, "", places, link=SWITCH) == {"web": set(), "other": set(tagged)}
    other = mac_of(switched, "other")
    inner = udp4("192.0.2.30", "192.0.2.50")
    frames = {
        "vlan": ethernet(other, 0x8100, b"\x00\x07\x08\x00" + inner),
        "priority": ethernet(other, 0x8100, b"\xe0\x00\x08\x00" + udp4("192.0.2.30", "192.0.2.50", 9)),
    }
    arrived = attack(switched, frames, "other", {"web": ("here.web", "eth0"), "host": ("", SWITCH)})
    assert arrived == {"web": {"priority"}, "host": {"vlan", "priority"}}
    assert learnt(switched, SWITCH) == []


def test_isolated_on_a_lan(switched: Machine) -> None:
    """Isolated containers do not reach each other, neither directly nor by the LAN's router; and both reach the LAN."""
    text = DIRECT
    for last in (50, 51):
        addresses = f'[192.0.2.{last}, "2001:db8::{last}"]'
        text = text.replace(addresses, f"{{address: {addresses}, isolated: true}}")
    applied = switched.netctl("apply", write(switched, text))
    assert applied.status == 0, applied.err
    own, other = nodes(switched)
    frames = {
        f"{name} {family}": ethernet(own.mac, kind, packet, target)
        for name, target in (("app", other.mac), ("router", mac_of(switched, "router")), ("host", mac_of(switched, "", SWITCH)))
        for family, kind, packet in ((4, IP4, udp4(own.ip4, other.ip4)), (6, IP6, ip6(own.ip6, other.ip6, 17, bytes(8))))
    }
    assert attack(switched, frames, "here.web", PLACES) == nowhere()
    assert pings(switched, "192.0.2.30", "here.web")
    assert pings(switched, "2001:db8::30", "here.app")
    assert pings(switched, "192.0.2.11", "here.web")


# --- macvlan ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("families", ["both", "ipv4"])
def test_a_macvlan_does_not_deceive_its_host(host: Machine, families: str) -> None:
    """The host's own macvlan takes no router advertisement, and no packet as a node that is not a container there."""
    text = MACVLAN if families == "both" else MACVLAN.replace(', "2001:db8::/64"]', "]").replace(', "2001:db8::50"', "")
    applied = host.netctl("apply", write(host, text if families == "both" else text.replace(', "2001:db8::51"', "")))
    assert applied.status == 0, applied.err
    assert host.sh("sysctl -n net.ipv6.conf.default.accept_ra net.ipv6.conf.all.forwarding").split() == ["1", "0"]
    look = "ip -6 route show table all | sed 's/expires [0-9]*sec//'; ip -6 -br address; ip neighbor show dev m-here-lan"
    before = host.sh(look)
    own, _ = nodes(host)
    shim = mac_of(host, "", "m-here-lan")
    source = "fe80::77"
    frames = {
        f"ra to {target}": ethernet(own.mac, IP6, ip6(source, "ff02::1", 58, router_advertisement(source)), target)
        for target in (shim, "33:33:00:00:00:01", "ff:ff:ff:ff:ff:ff")
    }
    assert attack(host, frames, "here.web", SHIM)["shim"] == set(frames)
    assert host.sh(look) == before
    counter = "awk '/^Udp:/ {print $2 + $3}' /proc/net/snmp | tail -1"  # InDatagrams, NoPorts
    arrived = int(host.sh(counter))
    honest = {"honest": ethernet(own.mac, IP4, udp4(own.ip4, "192.0.2.11"), shim)}
    attack(host, honest, "here.web", SHIM)
    assert int(host.sh(counter)) == arrived + 1
    forged = {
        name: ethernet(own.mac, IP4, udp4(name, "192.0.2.11"), shim) for name in ("192.0.2.1", "192.0.2.30", "203.0.113.10")
    }
    attack(host, forged, "here.web", SHIM)
    assert int(host.sh(counter)) == arrived + 1
    assert pings(host, "192.0.2.50")
    assert pings(host, "192.0.2.11", "here.web")
