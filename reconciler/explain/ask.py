"""The question of `netctl explain FROM TO[:PORT[/PROTO]]`, and its answer: the path of the first packet, and of the reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from typing import cast

from reconciler.compile.underlay import SEGMENT_LENGTH
from reconciler.errors import UsageError
from reconciler.explain.packet import CLIENT_PORT, Protocol, Trail, WalkedPacket
from reconciler.explain.walk import Walker
from reconciler.explain.world import OUTSIDE, Node, World
from reconciler.state.host import HostFacts, LinkFacts
from reconciler.state.naming import mac_of
from reconciler.state.ref import HOST
from reconciler.state.uapi import PORT_MAX
from reconciler.topology.types import Container, Host, Publication, Topology

OUTSIDE_WORD = "outside"
ASSUMED_UPLINK = "uplink"
"""The name of the uplink of a real host, if only the file is known."""
ASSUMED_NETWORKS = (ip_network("198.51.100.0/24"), ip_network("2001:db8:100::/64"))
"""The addresses of a real host then, if the file has none (documentation prefixes, RFC 5737 and RFC 3849)."""
DONE = ("arrives", "leaves")
_TARGET = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:/]+))(?::(?P<port>\d{1,5})(?:/(?P<protocol>\w+))?)?")


@dataclass(frozen=True, slots=True)
class PathTarget:
    """TO as the user writes it; `port` 0 is an echo request."""

    name: str
    port: int = 0
    protocol: Protocol = "icmp"


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """A start, and a packet. `source` is "" if routes decide; `host` is the one to whose uplink a neighbour sends."""

    start: str
    target: PathTarget
    address: str
    source: str = ""
    host: str = ""
    port: int = 0
    """The port of the packet; another one than the target's if that is published."""
    published_by: str = ""


@dataclass(frozen=True, slots=True)
class PathAnswer:
    """The paths of the first packet and of the reply; there is no reply if the first does not arrive."""

    question: PathQuestion
    there: Trail
    back: Trail | None
    world: World

    @property
    def passes(self) -> bool:
        """Whether both arrive, or leave the topology."""
        return self.there.end in DONE and (self.back is None or self.back.end in DONE)


def parse_target(text: str) -> PathTarget:
    """TO as values; UsageError if it has another form."""
    try:
        return PathTarget(str(ip_address(text)))
    except ValueError:
        pass
    found = _TARGET.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is no target", "write TO, TO:PORT or TO:PORT/PROTOCOL: db, db:5432, db:53/udp, [fd00::1]:80")
    name = found["v6"] or found["name"]
    if found["port"] is None:
        return PathTarget(name)
    protocol, port = found["protocol"] or "tcp", int(found["port"])
    if protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f"{protocol!r} is no protocol with ports", "write tcp, udp or sctp")
    if not 1 <= port <= PORT_MAX:
        raise UsageError(f"{port} is no port", f"ports are from 1 to {PORT_MAX}")
    return PathTarget(name, port, cast("Protocol", protocol))


def ask(world: World, start: str, target: PathTarget) -> tuple[PathAnswer, ...]:
    """The answers to a question: one for each family that both ends have. UsageError if an end is unknown."""
    origin = start_of(world, start)
    questions = list(_questions(world, start, origin, target))
    if not questions:
        raise UsageError(f"{start} and {target.name} have no address of the same family", "give one of them such an address")
    return tuple(answer(world, question) for question in questions)


def answer(world: World, question: PathQuestion) -> PathAnswer:
    """The path of a packet, and of the reply."""
    walker = Walker(world)
    packet = WalkedPacket(
        source=question.source,
        target=question.address,
        protocol=question.target.protocol,
        source_port=CLIENT_PORT if question.target.port else 0,
        port=question.port or question.target.port,
    )
    origin = start_of(world, question.start)
    there = walker.knock(question.host, packet) if question.host else walker.walk(origin, packet)
    if (
        there.end == "leaves"
        and question.address in world.owners
        and not world.nodes[world.owners[question.address][0]].is_beyond
    ):
        there.end, there.cause = "lost", "route"
        there.reason = f"{there.reason}; nothing in the file leads from there to {question.target.name}"
        there.hops[-1] = replace(there.hops[-1], layer="ends", words=there.reason)
    if walker.arrived is None:
        return PathAnswer(question, there, None, world)
    node, got = walker.arrived
    if (wanted := world.topology.containers.get(question.target.name)) and world.container(wanted.name) is not node:
        # A host has the address, and no published port leads on for this sender.
        there.end, there.cause = "lost", "host"
        there.reason = f"{node.name} keeps the packet: its port {got.port} leads to no container for {got.source}"
        there.hops[-1] = replace(there.hops[-1], layer="ends", words=there.reason)
        return PathAnswer(question, there, None, world)
    if question.host or got.source not in world.owners:
        return PathAnswer(question, there, None, world)
    return PathAnswer(question, there, walker.walk(node, got.answer), world)


def assumed_facts(topology: Topology) -> dict[str, HostFacts]:
    """What the file alone says of its hosts: hosts with addresses in one /24 or /64 are neighbours, and kernels can do all."""
    return {host.name: _assumed(topology, host, number) for number, host in enumerate(topology.hosts.values(), 1)}


def _assumed(topology: Topology, host: Host, number: int) -> HostFacts:
    if host.connect.scheme == "lab":
        return HostFacts(exists=False, fast_path=True)
    addresses = tuple(f"{address}/{SEGMENT_LENGTH[address.version]}" for address in host.addresses)
    lan = [cidr for subnet in topology.subnets.values() if subnet.is_lan for cidr in subnet.cidrs]
    networks = lan or list(ASSUMED_NETWORKS)
    addresses = addresses or tuple(f"{network[-1 - number]}/{network.prefixlen}" for network in networks)
    mac, uplink = mac_of(topology.name, "assumed", host.name), host.uplink or ASSUMED_UPLINK
    links = (LinkFacts(uplink, "", mac, mtu=1500, addresses=addresses, routers=tuple(str(network[1]) for network in networks)),)
    return HostFacts(exists=False, fast_path=True, uplink=uplink, uplink_mac=mac, addresses=addresses, links=links)


# --- the ends -----------------------------------------------------------------------------------------------------------


def start_of(world: World, name: str) -> Node:
    """The node that sends."""
    if name in world.topology.containers:
        return world.container(name)
    if name in world.topology.hosts:
        return world.nodes[name, HOST]
    if name == OUTSIDE_WORD:
        return world.nodes[OUTSIDE]
    address = _address(name)
    if not address:
        raise _unknown(world, name)
    return world.nodes[world.owners[address][0]] if address in world.owners else world.nodes[OUTSIDE]


def _address(name: str) -> str:
    try:
        return str(ip_address(name))
    except ValueError:
        return ""


def _unknown(world: World, name: str) -> UsageError:
    known = [*world.topology.containers, *world.topology.hosts, OUTSIDE_WORD]
    near = get_close_matches(name, known, n=1)
    help_text = f"did you mean {near[0]}?" if near else "name a container, a host, `outside`, or an address"
    return UsageError(f"the topology has no container and no host {name!r}", help_text)


def _questions(world: World, start: str, origin: Node, target: PathTarget) -> Iterator[PathQuestion]:
    own = {ip_address(held.address).version for held in origin.addresses}
    source = _address(start)
    for address, port, host in _addresses(world, origin, target):
        family = ip_address(address).version
        if family in own and (not source or ip_address(source).version == family):
            yield PathQuestion(start, target, address, source, port=port, published_by=host)


def _addresses(world: World, origin: Node, target: PathTarget) -> Iterator[tuple[str, int, str]]:
    """The addresses of the target that the origin would use, each with its port, and the host that publishes it."""
    topology = world.topology
    if target.name in topology.containers:
        yield from _of_container(world, origin, topology.containers[target.name], target)
    elif target.name in topology.hosts:
        yield from ((address, 0, "") for address in _of_host(world, origin, target.name))
    elif target.name == OUTSIDE_WORD:
        yield from ((held.address, 0, "") for held in world.nodes[OUTSIDE].addresses)
    elif address := _address(target.name):
        yield address, 0, ""
    else:
        raise _unknown(world, target.name)


def _of_container(world: World, origin: Node, container: Container, target: PathTarget) -> Iterator[tuple[str, int, str]]:
    node = world.container(container.name)
    held = node.addresses
    if not held:
        raise UsageError(
            f"container {container.name} has no address", "attach it to a subnet, and apply if a LAN gives addresses"
        )
    if origin.key == OUTSIDE and (found := list(_published(world, container, target))):
        yield from found
        return
    near = [one for one in held if any(one.network == mine.network for mine in origin.addresses)]
    for family in (4, 6):
        mine = [one for one in (*near, *held) if ip_address(one.address).version == family]
        if mine:
            yield mine[0].address, 0, ""


def _published(world: World, container: Container, target: PathTarget) -> Iterator[tuple[str, int, str]]:
    """The host's addresses and ports that lead to the container's port; the user may name either port."""
    for publication in container.publications if target.port else ():
        offset = _offset(publication, target)
        if offset is None:
            continue
        for host in publication.hosts or (container.host,):
            listen = publication.address
            own = [str(listen)] if listen and not listen.is_unspecified else world.outer_addresses(host)
            families = {ip_address(held.address).version for held in world.container(container.name).addresses}
            for address in (one for one in own if ip_address(one).version in families):
                yield address, publication.port + offset, host
        return


def _offset(publication: Publication, target: PathTarget) -> int | None:
    if publication.protocol != target.protocol:
        return None
    for first in (publication.port, publication.to_port):
        if first <= target.port < first + publication.count:
            return target.port - first
    return None


def _of_host(world: World, origin: Node, name: str) -> Iterator[str]:
    """The host's address next to the origin, else the one in the file."""
    node = world.nodes[name, HOST]
    near = [held.address for held in node.addresses if any(held.network == mine.network for mine in origin.addresses)]
    for family in (4, 6):
        everything = (*near, *world.outer_addresses(name), *(held.address for held in node.addresses))
        found = [one for one in everything if ip_address(one).version == family]
        if found:
            yield found[0]
