"""A container on an Open vSwitch bridge that would be a router, a querier or a DHCP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.packets.attacker import attack, mac_of
from tests.harness.packets.forged import (
    UDP,
    ip4,
    multicast_routers4,
    multicast_routers6,
    reports,
    tagged,
    udp,
)
from tests.harness.packets.frames import IP4, IP6, Node, ethernet, ip6
from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: KIND}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}}
  app: {networks: {front: [10.44.0.20, "fd44::20"]}}
  guide: {networks: {front: {address: [10.44.0.30, "fd44::30"], allow: [router-advertisements]}}}
"""
BRIDGE = "b-here-front"
PLACES = {"app": ("here.app", "eth0"), "host": ("", BRIDGE)}
NOWHERE: dict[str, set[str]] = {name: set() for name in PLACES}


def furnish(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Iterator[SwitchWorld]:
    """The topology, applied, with a kind of bridge."""
    with switch_machine(tmp_path_factory) as machine:
        made = SwitchWorld.furnish(machine, TOPOLOGY.replace("KIND", kind))
        made.apply()
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """With Open vSwitch."""
    yield from furnish(tmp_path_factory, "openvswitch")


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """With a Linux bridge."""
    yield from furnish(tmp_path_factory, "linux")


def node(world: SwitchWorld, name: str, last: int) -> Node:
    return Node(mac_of(world.machine, f"here.{name}"), f"10.44.0.{last}", f"fd44::{last}")


@pytest.mark.parametrize("kind", ["world", "linux"])
def test_a_container_is_no_multicast_router(request: pytest.FixtureRequest, kind: str) -> None:
    """No greeting of PIM, no query and no router of multicast passes: whole, in fragments, behind headers and tags.

    Nor does a first fragment without the message's own header, by either kind of bridge.
    """
    world: SwitchWorld = request.getfixturevalue(kind)
    own, other = node(world, "web", 10), node(world, "app", 20)
    frames = multicast_routers4(own, other) | multicast_routers6(own)
    assert attack(world.machine, frames, "here.web", PLACES) == NOWHERE
    plain = {name: frame for name, frame in frames.items() if not name.endswith((": first", ": last"))}
    assert attack(world.machine, tagged(plain), "here.web", PLACES) == NOWHERE


def test_reports_of_listeners(world: SwitchWorld) -> None:
    """On a segment of netctl's own those of IGMP's version 3 pass; those of IPv6 stay at their port, as on a Linux bridge."""
    passed = attack(world.machine, reports(node(world, "web", 10)), "here.web", PLACES)
    assert passed == {name: {"version 3"} for name in PLACES}


def test_what_the_file_lets_a_router_send(world: SwitchWorld) -> None:
    """`allow: [router-advertisements]` opens all of a router's messages for one port, and no DHCP server's."""
    own, other = node(world, "guide", 30), node(world, "app", 20)
    four = {name: frame for name, frame in multicast_routers4(own, other).items() if ":" not in name}
    six = {name: frame for name, frame in multicast_routers6(own).items() if name.endswith("plain")}
    arrived = attack(world.machine, four | six, "here.guide", PLACES)["app"]
    assert arrived == {name for name in four | six if not name.startswith("dhcp")}


def test_unused_addresses_wait_in_no_table(world: SwitchWorld) -> None:
    """Packets to addresses that nothing has leave no entry in the host's neighbor table; containers and host reach each other."""
    own, gateway = node(world, "web", 10), mac_of(world.machine, "", BRIDGE)
    frames = {}
    for last in range(100, 130):
        frames[f"to {last}"] = ethernet(own.mac, IP4, ip4(own.ip4, f"10.44.0.{last}", UDP, udp(9, 9)), gateway)
        frames[f"to ::{last}"] = ethernet(own.mac, IP6, ip6(own.ip6, f"fd44::{last}", UDP, udp(9, 9)), gateway)
    assert attack(world.machine, frames, "here.web", PLACES)["host"] == set(frames)
    shown = world.sh(f"ip neighbor show dev {BRIDGE}; ip -6 neighbor show dev {BRIDGE}")
    assert "INCOMPLETE" not in shown
    for address in ("10.44.0.1", "fd44::1", "10.44.0.20", "fd44::20"):
        assert world.pings("web", address)
    for address in ("10.44.0.10", "fd44::20"):
        world.sh(f"ping -c1 -W2 {address}")
