"""Isolated ports of Open vSwitch bridges: by a second network, by gateways, by link-local addresses and over overlays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest

from reconciler.compile.addresses import link_local_of
from tests.harness.packets import attacker
from tests.harness.packets.attacker import Places
from tests.harness.packets.forged import UDP, Frames, ip4, udp, with_hops
from tests.harness.packets.frames import ARP, IP4, IP6, Node, arp, ethernet, ip6
from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
  back: {cidr: [10.45.0.0/24, "fd45::/64"], bridge: openvswitch}
  side: {cidr: [10.46.0.0/24, "fd46::/64"]}
containers:
  web: {networks: {front: {address: [10.44.0.10, "fd44::10"], isolated: true}, back: auto, side: auto}}
  app: {networks: {front: {address: [10.44.0.20, "fd44::20"], isolated: true}}}
  third: {networks: {front: [10.44.0.30, "fd44::30"]}}
  lone: {networks: {side: {address: [10.46.0.40, "fd46::40"], isolated: true}, back: auto}}
  alone: {networks: {side: {address: [10.46.0.50, "fd46::50"], isolated: true}}}
  free: {networks: {side: [10.46.0.60, "fd46::60"], back: auto}}
policies:
  - {allow: back, to: front}
  - {allow: side, to: front}
  - {allow: back, to: side}
"""
LAB = """\
version: 1
name: here
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"], openvswitch: "unix:///run/ovs-alpha/db.sock"}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"], openvswitch: "unix:///run/ovs-beta/db.sock"}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
  far: {cidr: [10.47.0.0/24, "fd47::/64"], overlay: routes, bridge: openvswitch}
  side: {cidr: [10.46.0.0/24, "fd46::/64"], overlay: none, hosts: [alpha]}
containers:
  web: {host: alpha, networks: {front: {address: [10.44.0.10, "fd44::10"], isolated: true}}}
  third: {host: alpha, networks: {front: [10.44.0.30, "fd44::30"]}}
  app: {host: beta, networks: {front: {address: [10.44.0.20, "fd44::20"], isolated: true}}}
  open: {host: beta, networks: {front: [10.44.0.50, "fd44::50"]}}
  one: {host: alpha, networks: {far: {address: [10.47.0.10, "fd47::10"], isolated: true}, side: auto}}
  two: {host: beta, networks: {far: {address: [10.47.0.20, "fd47::20"], isolated: true}}}
  free: {host: beta, networks: {far: [10.47.0.30, "fd47::30"]}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """One host with two kinds of bridges."""
    with switch_machine(tmp_path_factory) as machine:
        made = SwitchWorld.furnish(machine, TOPOLOGY)
        made.apply()
        yield made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """Two hosts, joined by a VXLAN and by routes."""
    with switch_machine(tmp_path_factory) as machine:
        yield SwitchWorld.furnish_lab(machine, LAB, ("alpha", "beta"))


def attack(
    world: SwitchWorld, frames: Mapping[str, bytes], source: str, places: Places, link: str = "eth0"
) -> dict[str, set[str]]:
    return attacker.attack(world.machine, frames, f"here.{source}", places, link=link)


def own_of(world: SwitchWorld, name: str, link: str) -> Node:
    """What a container has on one of its links."""
    shown = world.sh(f"ip -br address show dev {link} scope global", f"here.{name}").split()[2:]
    four, six = (next(word.partition("/")[0] for word in shown if (":" in word) == is_six) for is_six in (False, True))
    return Node(attacker.mac_of(world.machine, f"here.{name}", link), four, six)


def to_gateway(own: Node, source: Node, target: Node, gateway: str, word: str) -> Frames:
    """One packet of each family, with an address of `source`, to the gateway's hardware address."""
    return {
        f"{word}, ipv4": ethernet(own.mac, IP4, ip4(source.ip4, target.ip4, UDP, udp(9, 9)), gateway),
        f"{word}, ipv6": ethernet(own.mac, IP6, with_hops(ip6(source.ip6, target.ip6, UDP, udp(9, 9)), 64), gateway),
    }


@pytest.mark.parametrize(
    ("attacker_name", "victim", "other", "links"),
    [
        ("web", "app", "third", {"eth0": "front", "eth1": "back", "eth2": "side"}),
        ("lone", "alone", "free", {"eth0": "side", "eth1": "back"}),
    ],
    ids=["Open vSwitch", "Linux bridge"],
)
def test_no_network_is_a_way_around_isolation(
    world: SwitchWorld, attacker_name: str, victim: str, other: str, links: Mapping[str, str]
) -> None:
    """An isolated container reaches another by the gateway of no network of its own, of either kind, with no address of its own.

    It reaches one that is not isolated by each of them.
    """
    nodes = {link: own_of(world, attacker_name, link) for link in links}
    closed, open_ = own_of(world, victim, "eth0"), own_of(world, other, "eth0")
    for link, subnet in links.items():
        bridge = f"b-here-{subnet}"
        gateway, own = attacker.mac_of(world.machine, "", bridge), nodes[link]
        bad: Frames = {}
        good: Frames = {}
        for used, source in nodes.items():
            bad |= to_gateway(own, source, closed, gateway, f"as {used}")
            good |= to_gateway(own, source, open_, gateway, f"to {other} as {used}")
        arrived = attack(world, bad | good, attacker_name, {"gateway": ("", bridge)}, link)
        assert arrived == {"gateway": set(good)}, subnet


def test_who_is_not_isolated_is_not_held_up(world: SwitchWorld) -> None:
    """By a policy a container of another network reaches isolated ones, and isolated ones answer it."""
    for address in ("10.44.0.20", "fd44::20", "10.46.0.50", "fd46::50"):
        assert world.pings("free", address), address
    for address in ("10.44.0.30", "fd44::30"):
        assert world.pings("web", address), address


def test_a_router_joins_no_isolated_ports_by_link_local_addresses(world: SwitchWorld) -> None:
    """A packet to another's link-local address stays at its port, whatever its source; one to the third's does not."""
    own, gateway = own_of(world, "web", "eth0"), attacker.mac_of(world.machine, "", "b-here-front")
    frames = {}
    for name, source in itertools.product(("app", "third"), (own.ip6, link_local_of(own.mac))):
        goal = link_local_of(own_of(world, name, "eth0").mac)
        frames[f"{name} from {source}"] = ethernet(own.mac, IP6, with_hops(ip6(source, goal, UDP, udp(9, 9)), 64), gateway)
    arrived = attack(world, frames, "web", {"gateway": ("", "b-here-front")})
    assert arrived == {"gateway": {name for name in frames if name.startswith("third")}}


def test_what_is_live_differs_in_nothing(world: SwitchWorld) -> None:
    """A rule of isolation that is lost is drift, and comes back."""
    for table in (6, 7):
        world.sh(f"ovs-ofctl del-flows b-here-back table={table}")
        assert world.netctl("diff", status=None).status == 1
        world.apply()
    world.netctl("verify")


# --- two hosts --------------------------------------------------------------------------------------------------------


def groups_from(own: Node) -> Frames:
    """What is for all, and for many."""
    return {
        "broadcast": ethernet(own.mac, IP4, ip4(own.ip4, "255.255.255.255", UDP, udp(9, 9))),
        "arp": ethernet(own.mac, ARP, arp(own.mac, own.ip4, "10.44.0.99")),
        "multicast": ethernet(own.mac, IP4, ip4(own.ip4, "239.1.1.1", UDP, udp(9, 9)), "01:00:5e:01:01:01"),
        "multicast, ipv6": ethernet(own.mac, IP6, with_hops(ip6(own.ip6, "ff02::1", UDP, udp(9, 9)), 1), "33:33:00:00:00:01"),
    }


def test_groups_over_a_vxlan(lab: SwitchWorld) -> None:
    """What an isolated container sends to all arrives on another host at those that are not isolated, and at the host."""
    places = {name: (f"here.{name}", "eth0") for name in ("app", "open")}
    places["beta"] = ("here.lab.beta", "b-here-front")
    frames = groups_from(own_of(lab, "web", "eth0"))
    assert attack(lab, frames, "web", places) == {"app": set(), "open": set(frames), "beta": set(frames)}
    frames = groups_from(own_of(lab, "third", "eth0"))
    assert attack(lab, frames, "third", places) == {name: set(frames) for name in places}


def test_gateways_of_all_hosts(lab: SwitchWorld) -> None:
    """No host, near or far, routes from an isolated container to another: by addresses of the subnet, or of the link."""
    own, other, neighbour = (own_of(lab, name, "eth0") for name in ("web", "app", "open"))
    link_locals = [Node(each.mac, each.ip4, link_local_of(each.mac)) for each in (own, other, neighbour)]
    places = {f"gateway of {host}": (f"here.lab.{host}", "b-here-front") for host in ("alpha", "beta")}
    for host in ("alpha", "beta"):
        gateway = attacker.mac_of(lab.machine, f"here.lab.{host}", "b-here-front")
        bad = to_gateway(own, own, other, gateway, "own") | to_gateway(own, link_locals[0], link_locals[1], gateway, "local")
        good = to_gateway(own, own, neighbour, gateway, "good") | to_gateway(
            own, link_locals[0], link_locals[2], gateway, "good local"
        )
        arrived = attack(lab, bad | good, "web", places)
        assert arrived == {name: set(good) if host in name else set() for name in places}


def test_gateways_of_routes(lab: SwitchWorld) -> None:
    """Nor does one where routes join the hosts, nor by the container's second network."""
    nodes = {link: own_of(lab, "one", link) for link in ("eth0", "eth1")}
    closed, neighbour = own_of(lab, "two", "eth0"), own_of(lab, "free", "eth0")
    for link, subnet in (("eth0", "far"), ("eth1", "side")):
        bridge = f"b-here-{subnet}"
        gateway = attacker.mac_of(lab.machine, "here.lab.alpha", bridge)
        bad, good = (
            {
                name: frame
                for used, source in nodes.items()
                for name, frame in to_gateway(nodes[link], source, goal, gateway, f"{word} as {used}").items()
            }
            for word, goal in (("closed", closed), ("open", neighbour))
        )
        assert attack(lab, bad | good, "one", {"gateway": ("here.lab.alpha", bridge)}, link) == {"gateway": set(good)}


def test_one_container_more(lab: SwitchWorld) -> None:
    """A container that joins gets what isolated ones on other hosts send to all, and leaves nothing behind when it goes."""
    frames = groups_from(own_of(lab, "web", "eth0"))
    lab.write(LAB + '  late: {host: beta, networks: {front: [10.44.0.60, "fd44::60"]}}\n')
    lab.apply()
    places = {name: (f"here.{name}", "eth0") for name in ("app", "open", "late")}
    assert attack(lab, frames, "web", places) == {"app": set(), "open": set(frames), "late": set(frames)}
    lab.write(LAB)
    lab.apply()
    del places["late"]
    assert attack(lab, frames, "web", places) == {"app": set(), "open": set(frames)}
    lab.netctl("verify")
