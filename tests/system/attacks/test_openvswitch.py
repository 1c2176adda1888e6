"""Attacks by a container with raw sockets on an Open vSwitch bridge, its other ports and its host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from reconciler.compile.addresses import link_local_of
from reconciler.state.naming import interface_name
from tests.harness.packets import attacker
from tests.harness.packets.attacker import Places
from tests.harness.packets.forged import (
    MULTICAST_SOURCE,
    Frames,
    false_arp,
    false_servers,
    hidden_advertisements,
    honest_discovery,
    ip4,
    never,
    poisoned_discovery,
    router_advertisement,
    to_link_local_groups,
    udp,
)
from tests.harness.packets.frames import IP4, IP6, Node, ethernet, good_frames, icmp6, ip6, udp4
from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}}
  app: {networks: {front: [10.44.0.20, "fd44::20"]}}
  third: {networks: {front: [10.44.0.30, "fd44::30"]}}
"""
IPV4_ONLY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: 10.44.0.0/24, bridge: openvswitch}
containers:
  web: {networks: {front: 10.44.0.10}}
  app: {networks: {front: 10.44.0.20}}
"""
ROUTER = TOPOLOGY.replace(", bridge:", ", mode: isolated, bridge:").replace(
    'web: {networks: {front: [10.44.0.10, "fd44::10"]}}',
    'web: {networks: {front: {address: [10.44.0.10, "fd44::10"], allow: [router-advertisements]}}}',
)
BRIDGE = "b-here-front"
PLACES = {"app": ("here.app", "eth0"), "third": ("here.third", "eth0"), "host": ("", BRIDGE)}
BOTH = {name: PLACES[name] for name in ("app", "host")}
UNKNOWN = "02:00:00:00:00:99"
PORT = interface_name("v-", "here", "web", "front")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """A machine with Open vSwitch and the kernel's own defaults, among them to accept router advertisements."""
    with switch_machine(tmp_path_factory) as machine:
        yield SwitchWorld.furnish(machine, TOPOLOGY)


@pytest.fixture
def world(bare: SwitchWorld) -> SwitchWorld:
    """The topology, applied."""
    bare.write(TOPOLOGY)
    bare.apply()
    return bare


def node(world: SwitchWorld, name: str, last: int) -> Node:
    return Node(mac_of(world, f"here.{name}"), f"10.44.0.{last}", f"fd44::{last}")


def attack(
    world: SwitchWorld, frames: Mapping[str, bytes], source: str = "here.web", places: Places = PLACES
) -> dict[str, set[str]]:
    """Where the frames arrive that `source` sends."""
    return attacker.attack(world.machine, frames, source, places)


def mac_of(world: SwitchWorld, netns: str, link: str = "eth0") -> str:
    """The hardware address of a link."""
    return attacker.mac_of(world.machine, netns, link)


def learnt(world: SwitchWorld, bridge: str = BRIDGE, folder: str = "/run/openvswitch") -> list[str]:
    """The hardware addresses that the bridge has learnt."""
    return attacker.learnt(world.machine, bridge, folder)


def look(world: SwitchWorld) -> str:
    """The host's neighbors but the uplink's, its routes and addresses."""
    return world.sh("ip neighbor | grep -v ' dev eth0 '; ip route show table all; ip -6 route show table all; ip -br address")


def nodes(world: SwitchWorld) -> tuple[Node, Node]:
    """The attacker and a victim."""
    return node(world, "web", 10), node(world, "app", 20)


def test_link_local_groups(world: SwitchWorld) -> None:
    """No frame of any kind to one of the 16 groups arrives anywhere, from any hardware address, and the bridge learns none."""
    own, other = nodes(world)
    sources = (own.mac, other.mac, mac_of(world, "", BRIDGE), UNKNOWN, MULTICAST_SOURCE)
    before = look(world)
    arrived = attack(world, to_link_local_groups(own, other, sources))
    assert arrived == {"app": set(), "third": set(), "host": set()}
    assert learnt(world) == []
    assert look(world) == before
    assert world.pings("app", "10.44.0.10")


def test_kinds_of_frames_that_no_container_sends(world: SwitchWorld) -> None:
    """Tags, BPDUs, LLDP, LACP, EAPOL, MPLS, PPPoE, SNAP, runts: to another, to the host, to all."""
    own, other = nodes(world)
    for target in (other.mac, mac_of(world, "", BRIDGE), "ff:ff:ff:ff:ff:ff", "01:00:0c:cc:cc:cc"):
        assert attack(world, never(own, other, target)) == {"app": set(), "third": set(), "host": set()}, target


def test_nothing_is_learnt(world: SwitchWorld) -> None:
    """A container neither moves another's hardware address to its port nor fills the table, and its own is not learnt either."""
    own, other = nodes(world)
    gateway = mac_of(world, "", BRIDGE)
    frames = {f"as {mac}": ethernet(mac, IP4, udp4(own.ip4, "10.44.0.30")) for mac in (other.mac, gateway, UNKNOWN)}
    frames |= {
        f"number {n}": ethernet(f"02:77:00:00:{n >> 8:02x}:{n & 255:02x}", IP4, udp4(own.ip4, other.ip4)) for n in range(300)
    }
    assert attack(world, frames) == {"app": set(), "third": set(), "host": set()}
    assert attack(world, good_frames(own, other))["app"] == set(good_frames(own, other))
    assert learnt(world) == []
    assert world.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    assert learnt(world) == []


def test_unicast_arrives_at_its_own_port_only(world: SwitchWorld) -> None:
    """Also if no node has sent with the hardware address for long, and nowhere if no container has it."""
    own, other = nodes(world)
    frames = {
        "to app": ethernet(own.mac, IP4, udp4(own.ip4, other.ip4), other.mac),
        "to the host": ethernet(own.mac, IP4, udp4(own.ip4, "10.44.0.1"), mac_of(world, "", BRIDGE)),
        "to nobody": ethernet(own.mac, IP4, udp4(own.ip4, "10.44.0.77"), UNKNOWN),
        "to itself": ethernet(own.mac, IP4, udp4(own.ip4, own.ip4), own.mac),
    }
    assert attack(world, frames) == {"app": {"to app"}, "third": set(), "host": {"to the host"}}
    gateway = mac_of(world, "", BRIDGE)
    from_host = {
        name: ethernet(gateway, IP4, udp4("10.44.0.1", own.ip4), mac) for name, mac in (("web", own.mac), ("x", UNKNOWN))
    }
    places = {name: (f"here.{name}", "eth0") for name in ("web", "app", "third")}
    arrived = attacker.attack(world.machine, from_host, "", places, link=BRIDGE)
    assert arrived == {"web": {"web"}, "app": set(), "third": set()}


def test_router_advertisements_behind_headers_and_in_fragments(world: SwitchWorld) -> None:
    """None passes; a large echo of IPv6, which is in fragments too, does."""
    own, _ = nodes(world)
    arrived = attack(world, hidden_advertisements(own))
    # Without its first fragment no packet is put together; a first one that is no neighbor discovery may pass.
    told = {place: {name for name in names if not name.endswith(": last")} for place, names in arrived.items()}
    assert told == {"app": set(), "third": set(), "host": set()}
    assert world.passes("here.web", "ping -c1 -W1 -s 3000 fd44::20")
    assert world.passes("here.web", "ping -c1 -W1 -s 3000 10.44.0.20")
    assert world.passes("here.web", "ping -c1 -W1 -s 3000 fd44::1")


def test_neighbor_discovery_with_anothers_hardware_address(world: SwitchWorld) -> None:
    """Options that name another's are dropped, also if they come twice; those that are right, or missing, pass."""
    own, other = nodes(world)
    assert attack(world, poisoned_discovery(own, other)) == {"app": set(), "third": set(), "host": set()}
    honest = honest_discovery(own, other)
    assert attack(world, honest) == {"app": set(honest), "third": set(honest), "host": set(honest)}


def test_false_servers_routers_and_arp(world: SwitchWorld) -> None:
    """No offer of a DHCP server, whatever its source port and in fragments, no redirect, no query, no ARP about another."""
    own, other = nodes(world)
    frames = false_servers(own, other) | false_arp(own, other, "10.44.0.1")
    assert attack(world, frames) == {"app": set(), "third": set(), "host": set()}


def test_the_host_gets_nothing_from_a_port(bare: SwitchWorld) -> None:
    """A host that accepts router advertisements, with IPv4 only: no route, no neighbor, no datagram comes from a port."""
    bare.netctl("destroy")
    bare.write(IPV4_ONLY)
    bare.apply()
    own, other = nodes(bare)
    world_facing = "net.ipv6.conf.all.accept_ra net.ipv6.conf.all.forwarding"
    assert bare.sh(f"sysctl -n {world_facing}").split() == ["1", "0"]
    near, bridge = mac_of(bare, "", PORT), mac_of(bare, "", BRIDGE)
    before = look(bare)
    taken = "Icmp6In|Udp6In|Ip6InDelivers|Ip6ReasmReqds"
    counters = f"grep -E '^(Udp|Icmp):' /proc/net/snmp; grep -E '{taken}' /proc/net/snmp6"
    counted = bare.sh(counters)
    frames: Frames = {}
    for target in (near, bridge, other.mac, "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "01:80:c2:00:00:0e"):
        for source in (own.mac, other.mac, UNKNOWN):
            local = "fe80::77"
            frames |= {
                f"ra {source} {target}": ethernet(source, IP6, ip6(local, "ff02::1", 58, router_advertisement(local)), target),
                f"ns {source} {target}": ethernet(source, IP6, icmp6(local, 135, "fe80::1"), target),
                f"udp {source} {target}": ethernet(source, IP4, udp4("192.0.2.1", "192.0.2.11"), target),
                f"part {source} {target}": ethernet(source, IP4, ip4("192.0.2.1", "192.0.2.11", 17, udp(5, 9), 0x2000), target),
            }
    attack(bare, frames, places={"host": ("", BRIDGE)})
    assert look(bare) == before
    assert bare.sh(counters) == counted
    assert bare.sh(f"sysctl -n net.ipv6.conf.{PORT}.disable_ipv6").strip() == "1"
    assert learnt(bare) == []
    bare.netctl("destroy")


def test_the_host_follows_no_router_in_its_own_subnet(bare: SwitchWorld) -> None:
    """A container that the file lets advertise itself as a router is one for the other containers, not for the host."""
    bare.netctl("destroy")
    bare.write(ROUTER)
    bare.apply()
    assert bare.sh("sysctl -n net.ipv6.conf.all.forwarding").strip() == "0", "a host that forwards follows no router anyway"
    own, _ = nodes(bare)
    sources = {"own": own.ip6, "local": link_local_of(own.mac)}
    packets = {name: ip6(source, "ff02::1", 58, router_advertisement(source)) for name, source in sources.items()}
    before = look(bare)
    frames = {name: ethernet(own.mac, IP6, packet, "33:33:00:00:00:01") for name, packet in packets.items()}
    assert attack(bare, frames, places=BOTH) == {"app": set(packets), "host": set(packets)}
    assert look(bare) == before
    bare.netctl("destroy")


def test_fragments_at_a_port_are_not_put_together_by_the_host(world: SwitchWorld) -> None:
    """Or a container's part would be taken into a datagram that another host sends to this one."""
    own, _ = nodes(world)
    counter = "awk '/^Ip:/ {print $15}' /proc/net/snmp | tail -1"  # ReasmReqds
    before = world.sh(counter)
    fragment = ip4("192.0.2.1", "192.0.2.11", 17, udp(5, 9), 0x2000)
    attack(world, {"fragment": ethernet(own.mac, IP4, fragment)}, places={"host": ("", BRIDGE)})
    assert world.sh(counter) == before


ISOLATED = TOPOLOGY.replace('"fd44::10"]', '"fd44::10"], isolated: true').replace('"fd44::20"]', '"fd44::20"], isolated: true')
for _name, _last in (("web", 10), ("app", 20)):
    ISOLATED = ISOLATED.replace(
        f'{_name}: {{networks: {{front: [10.44.0.{_last}, "fd44::{_last}"], isolated: true}}}}',
        f'{_name}: {{networks: {{front: {{address: [10.44.0.{_last}, "fd44::{_last}"], isolated: true}}}}}}',
    )


def test_isolated_ports_reach_each_other_by_no_way(bare: SwitchWorld) -> None:
    """Neither directly, nor by the gateway, of both families; and each reaches the third container, and the outside."""
    bare.write(ISOLATED)
    bare.apply()
    own, other = nodes(bare)
    gateway = mac_of(bare, "", BRIDGE)
    frames = {
        f"{how} {family}": ethernet(own.mac, kind, packet, target)
        for how, target in (("by the gateway", gateway), ("straight", other.mac), ("to all", "ff:ff:ff:ff:ff:ff"))
        for family, kind, packet in (
            ("ipv4", IP4, udp4(own.ip4, other.ip4)),
            ("ipv6", IP6, ip6(own.ip6, other.ip6, 17, udp(1, 2))),
        )
    }
    assert attack(bare, frames, places=BOTH) == {"app": set(), "host": set()}
    good = good_frames(own, node(bare, "third", 30))
    assert attack(bare, good) == {"app": set(), "third": set(good), "host": set(good)}
    for address in ("10.44.0.20", "fd44::20"):
        host = "10.44.0.1" if "." in address else "fd44::1"
        length = 32 if "." in address else 128
        assert not bare.passes("here.web", f"ip route add {address}/{length} via {host}; ping -c2 -i0.2 -W0.5 {address}")
    for address in ("10.44.0.30", "fd44::30", "10.44.0.1", "192.0.2.1"):
        assert bare.pings("web", address), address
        assert address == "192.0.2.1" or bare.pings("third", "10.44.0.10" if "." in address else "fd44::10")
    bare.write(TOPOLOGY)
    bare.apply()
    assert bare.pings("web", "10.44.0.20"), "isolation goes with its word in the file"


def test_what_makes_a_bridge_learn_is_drift(world: SwitchWorld) -> None:
    """Learning, another treatment of fragments, a flow to another port: `diff` reports them, and `apply` repairs them."""
    for script in (
        f"ovs-vsctl clear bridge {BRIDGE} flood_vlans",
        f"ovs-ofctl set-frags {BRIDGE} normal",
        f"ovs-ofctl --strict mod-flows {BRIDGE} 'table=5,priority=20,dl_dst={mac_of(world, 'here.app')},actions=output:{PORT}'",
        f"ovs-ofctl --strict del-flows {BRIDGE} 'table=5,priority=20,dl_dst={mac_of(world, 'here.app')}'",
        f"sysctl -qw net.ipv6.conf.{PORT}.disable_ipv6=0",
    ):
        world.sh(script)
        assert world.netctl("diff", status=None).status == 1, script
        world.apply()
        assert world.pings("web", "10.44.0.20"), script
        assert learnt(world) == []


def test_flows_grow_with_containers_only(world: SwitchWorld) -> None:
    """One more container is as many flows as the one before it, at most 20 with both families."""

    def count() -> int:
        return len(world.sh(f"ovs-ofctl --no-stats dump-flows {BRIDGE}").splitlines())

    text = TOPOLOGY
    counts = [count()]
    for last in (41, 42):
        text += f'  more-{last}: {{networks: {{front: [10.44.0.{last}, "fd44::{last}"]}}}}\n'
        world.write(text)
        world.apply()
        counts.append(count())
    assert counts[2] - counts[1] == counts[1] - counts[0] <= 20, counts


# --- two hosts --------------------------------------------------------------------------------------------------------

LAB = """\
version: 1
name: here
hosts:
  alpha: {connect: lab, address: 192.0.2.11, openvswitch: "unix:///run/ovs-alpha/db.sock"}
  beta: {connect: lab, address: 192.0.2.12, openvswitch: "unix:///run/ovs-beta/db.sock"}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
containers:
  web: {host: alpha, networks: {front: {address: [10.44.0.10, "fd44::10"], isolated: true}}}
  third: {host: alpha, networks: {front: [10.44.0.30, "fd44::30"]}}
  app: {host: beta, networks: {front: [10.44.0.20, "fd44::20"]}}
  far: {host: alpha, networks: {front: {address: [10.44.0.40, "fd44::40"], isolated: true}}}
"""


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """A subnet over two hosts, each with an Open vSwitch of its own."""
    with switch_machine(tmp_path_factory) as machine:
        yield SwitchWorld.furnish_lab(machine, LAB, ("alpha", "beta"))


def test_over_an_overlay(lab: SwitchWorld) -> None:
    """Nothing behind the VXLAN moves to another port, nor is unicast seen by others; isolated containers stay apart."""
    own, other = nodes(lab)
    places = {name: (f"here.{name}", "eth0") for name in ("third", "app", "far")}
    far = node(lab, "far", 40)
    frames = {
        "to app": ethernet(own.mac, IP4, udp4(own.ip4, other.ip4), other.mac),
        "to nobody": ethernet(own.mac, IP4, udp4(own.ip4, "10.44.0.77"), UNKNOWN),
        "as app": ethernet(other.mac, IP4, udp4(own.ip4, "10.44.0.30")),
        "to far": ethernet(own.mac, IP4, udp4(own.ip4, far.ip4), far.mac),
        "to far, ipv6": ethernet(own.mac, IP6, ip6(own.ip6, far.ip6, 17, udp(1, 2)), far.mac),
    }
    for host in ("alpha", "beta"):
        gateway = mac_of(lab, f"here.lab.{host}", BRIDGE)
        frames[f"to far by {host}"] = ethernet(own.mac, IP4, udp4(own.ip4, far.ip4), gateway)
        frames[f"to far by {host}, ipv6"] = ethernet(own.mac, IP6, ip6(own.ip6, far.ip6, 17, udp(1, 2)), gateway)
    assert attack(lab, frames, places=places) == {"third": set(), "app": {"to app"}, "far": set()}
    groups = to_link_local_groups(own, other, (own.mac, other.mac, far.mac))
    assert attack(lab, groups, places=places) == {"third": set(), "app": set(), "far": set()}
    for host in ("alpha", "beta"):
        assert learnt(lab, BRIDGE, f"/run/ovs-{host}") == []
    for address in ("10.44.0.30", "fd44::30", "10.44.0.20", "fd44::20"):
        assert lab.pings("web", address), address
        assert lab.pings("far", address), address
    lab.netctl("verify")
