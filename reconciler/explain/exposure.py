"""What everyone can reach: the world outside, a neighbour on the LAN of each host, each subnet and each container.

It is computed by the same walk as one path (`walk`). Containers that the file treats alike have one representative. So the cost
grows with the kinds of containers, and not with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from reconciler.explain.packet import CLIENT_PORT, Protocol, WalkedPacket
from reconciler.explain.walk import Walker
from reconciler.explain.world import OUTSIDE, Node, World
from reconciler.state.ref import HOST
from reconciler.state.subject import Subject
from reconciler.topology.types import Container, Party, Policy, PortRange, Topology

ALL = "all"
"""Every port of every protocol."""
WORLD, LAN, HOSTS = "outside", "neighbour", "host"
CLOSED_PORTS = (7, 9, 13, 17, 19, 37)
"""Candidates for a port that no policy and no publication names."""


@dataclass(frozen=True, slots=True)
class Reachable:
    """The sources reach a service of each of the targets: `all`, or `tcp 5432`; `via` is the address and port to use.

    A source is `outside`, `neighbour of alpha`, `subnet front`, or a container by its name in the file. A target is a
    container, a host (`host alpha`) or `outside`. With `only_from`, only senders with such an address are let through.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    service: str
    families: tuple[int, ...]
    via: str = ""
    only_from: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """Containers of one host that differ in nothing that decides about packets, and two of them."""

    names: tuple[str, ...]
    first: Container
    second: Container | None = None


def find_exposure(world: World) -> tuple[Reachable, ...]:
    """All that can be reached, by source: the outside first, then neighbours, subnets and containers."""
    exposure = _Exposure(world)
    own = tuple(exposure.of_containers())
    return (*exposure.of_outside(), *exposure.of_neighbours(), *_of_subnets(world.topology, own), *own)


def kinds_of(topology: Topology) -> tuple[Kind, ...]:
    """The containers in groups, in the order of the file."""
    parties = {party for policy in topology.policies for party in (policy.source, policy.target)}
    groups: dict[object, list[Container]] = {}
    for container in topology.containers.values():
        if container.share or not container.attachments:
            continue
        networks = tuple((each.subnet, each.isolated, each.default, each.routes, each.hairpin) for each in container.attachments)
        named = container.origin if Party("container", container.origin) in parties or container.publications else ""
        groups.setdefault((container.host, networks, named), []).append(container)
    kinds = []
    for members in groups.values():
        names = tuple(dict.fromkeys(one.origin for one in members))
        kinds.append(Kind(names, members[0], members[1] if len(members) > 1 else None))
    return tuple(kinds)


class _Exposure:
    def __init__(self, world: World) -> None:
        self.world, self.topology = world, world.topology
        self.kinds = kinds_of(world.topology)
        taken = {
            port
            for policy in self.topology.policies
            for ports in policy.ports
            for port in range(ports.first, min(ports.last, max(CLOSED_PORTS)) + 1)
        }
        taken |= {one.port for container in self.topology.containers.values() for one in container.publications}
        self.closed = next((port for port in CLOSED_PORTS if port not in taken), CLOSED_PORTS[0])

    # --- from containers --------------------------------------------------------------------------------------------------

    def of_containers(self) -> Iterator[Reachable]:
        """What each kind of container reaches."""
        for kind in self.kinds:
            start = self.world.container(kind.first.name)
            for other in self.kinds:
                two = other.second if other is kind else other.first
                if two:
                    yield from self._between(kind, other, start, two)
            yield from self._to_hosts(kind, start)
            yield from self._to_outside(kind, start)

    def _between(self, kind: Kind, other: Kind, start: Node, two: Container) -> Iterator[Reachable]:
        target = self.world.container(two.name)
        policies = [policy for policy in self.topology.policies if self._is_for(policy, kind.first, two)]
        yield from self._services(kind.names, other.names, start, target, [held.address for held in target.addresses], policies)

    def _is_for(self, policy: Policy, one: Container, two: Container | None) -> bool:
        is_source = _is_party(policy.source, one)
        return is_source and (policy.target.kind == "outside" if two is None else _is_party(policy.target, two))

    def _to_hosts(self, kind: Kind, start: Node) -> Iterator[Reachable]:
        for name in self.topology.hosts:
            node = self.world.nodes[name, HOST]
            yield from self._services(kind.names, (f"host {name}",), start, node, [held.address for held in node.addresses], [])

    def _to_outside(self, kind: Kind, start: Node) -> Iterator[Reachable]:
        policies = [policy for policy in self.topology.policies if self._is_for(policy, kind.first, None)]
        outside = self.world.nodes[OUTSIDE]
        yield from self._services(kind.names, (WORLD,), start, outside, [held.address for held in outside.addresses], policies)

    def _services(
        self, sources: tuple[str, ...], targets: tuple[str, ...], start: Node, target: Node, addresses: Iterable[str],
        policies: Iterable[Policy],
    ) -> Iterator[Reachable]:  # fmt: skip
        """The services that pass to any of the addresses, by family."""
        found: dict[str, set[int]] = {}
        ranges = list(dict.fromkeys(ports for policy in policies for ports in policy.ports))
        for address in addresses:
            family = ip_address(address).version
            if self._passes(start, target, address, "tcp", self.closed):
                found.setdefault(ALL, set()).add(family)
                continue
            for ports in ranges:
                if self._passes(start, target, address, ports.protocol, ports.first):
                    found.setdefault(service_words(ports), set()).add(family)
        for service, families in found.items():
            left = families - found.get(ALL, set()) if service != ALL else families
            if left:
                yield Reachable(sources, targets, service, tuple(sorted(left)))

    def _passes(self, start: Node, target: Node, address: str, protocol: Protocol, port: int, source: str = "") -> bool:
        """Whether a packet reaches the target, and the answer returns."""
        walker = Walker(self.world)
        packet = WalkedPacket(source=source, target=address, protocol=protocol, source_port=CLIENT_PORT, port=port)
        trail = walker.walk(start, packet)
        if walker.arrived is None:
            return trail.end == "leaves" and target.is_beyond
        node, got = walker.arrived
        if node is not target:
            return False
        return bool(source) or walker.walk(node, got.answer).end in ("arrives", "leaves")

    # --- from outside -----------------------------------------------------------------------------------------------------

    def of_outside(self) -> Iterator[Reachable]:
        """What any machine outside reaches."""
        start = self.world.nodes[OUTSIDE]
        for kind in self.kinds:
            target = self.world.container(kind.first.name)
            addresses = [held.address for held in target.addresses]
            yield from self._services((WORLD,), kind.names, start, target, addresses, [])
        yield from self._published(WORLD, None)

    def of_neighbours(self) -> Iterator[Reachable]:
        """What a machine on the LAN of a host reaches, if it sends packets for containers there."""
        for name in self.topology.hosts:
            node, who = self.world.nodes[name, HOST], f"{LAN} of {name}"
            for kind in self.kinds:
                if kind.first.host != name:
                    continue
                families = set()
                target = self.world.container(kind.first.name)
                for held in target.addresses:
                    source = self._neighbour(node, held.address)
                    if source and self._knocks(name, target, held.address, "tcp", self.closed, source):
                        families.add(ip_address(held.address).version)
                if families:
                    yield Reachable((who,), kind.names, ALL, tuple(sorted(families)))
            yield from self._published(who, name)

    def _neighbour(self, node: Node, address: str) -> str:
        """An address of a machine next to the host that is not in the file; "" if its network has no room for one."""
        family = ip_address(address).version
        declared = self.world.outer_addresses(node.host)
        own = [held for held in node.addresses if held.address in declared and ip_address(held.address).version == family]
        for held in own:
            last = int(held.network.broadcast_address) - 1
            for number in range(last, max(last - 20, int(held.network.network_address)), -1):
                candidate = str(type(held.network.network_address)(number))
                if candidate not in self.world.owners:
                    return candidate
        return ""

    def _knocks(self, host: str, target: Node, address: str, protocol: Protocol, port: int, source: str) -> bool:
        walker = Walker(self.world)
        walker.knock(host, WalkedPacket(source=source, target=address, protocol=protocol, source_port=CLIENT_PORT, port=port))
        return walker.arrived is not None and walker.arrived[0] is target

    def _published(self, who: str, neighbour: str | None) -> Iterator[Reachable]:
        """The published ports that are open to the outside, or to a neighbour of one host."""
        seen: dict[tuple[str, str, str, str], set[int]] = {}
        for container in self.topology.containers.values():
            for publication in container.publications:
                for host in publication.hosts or (container.host,):
                    if neighbour not in (None, host):
                        continue
                    ports = PortRange(publication.protocol, publication.to_port, publication.to_port + publication.count - 1)
                    for address in self._listening(host, publication.address):
                        for source in publication.sources or (None,):
                            if source is not None and source.version != ip_address(address).version:
                                continue
                            given = "" if source is None else str(next(iter(ip_network(source).hosts()), source.network_address))
                            if self._opens(container, host, address, publication.protocol, publication.port, given, neighbour):
                                end = "" if publication.count == 1 else f"-{publication.port + publication.count - 1}"
                                via = f"{host} {publication.protocol} {publication.port}{end}"
                                key = (container.origin, service_words(ports), via, str(source or ""))
                                seen.setdefault(key, set()).add(ip_address(address).version)
        for (name, service, via, only), families in seen.items():
            yield Reachable((who,), (name,), service, tuple(sorted(families)), via, only)

    def _opens(
        self, container: Container, host: str, address: str, protocol: Protocol, port: int, source: str, neighbour: str | None
    ) -> bool:
        target = self.world.container(container.name)
        if neighbour is None:
            return self._passes(self.world.nodes[OUTSIDE], target, address, protocol, port, source)
        near = source or self._neighbour(self.world.nodes[host, HOST], address)
        return bool(near) and self._knocks(host, target, address, protocol, port, near)

    def _listening(self, host: str, listen: object) -> list[str]:
        if listen is not None and not getattr(listen, "is_unspecified", False):
            return [str(listen)]
        declared = self.world.outer_addresses(host)
        version = getattr(listen, "version", None)
        return [one for one in declared if version in (None, ip_address(one).version)]


def _is_party(party: Party, container: Container) -> bool:
    if party.kind == "subnet":
        return any(each.subnet == party.name for each in container.attachments)
    return party == Party("container", container.origin)


def service_words(ports: PortRange) -> str:
    """A service for people: `tcp 5432`, `tcp 8000-8010`."""
    last = f"-{ports.last}" if ports.last != ports.first else ""
    return f"{ports.protocol} {ports.first}{last}"


def _of_subnets(topology: Topology, own: Iterable[Reachable]) -> Iterator[Reachable]:
    """What all containers of a subnet reach in common."""
    held: dict[str, dict[tuple[str, str], set[int]]] = {}
    for reach in own:
        for source in reach.sources:
            for target in reach.targets:
                held.setdefault(source, {}).setdefault((target, reach.service), set()).update(reach.families)
    for subnet in topology.subnets.values():
        members = dict.fromkeys(
            container.origin
            for container in topology.containers.values()
            if any(each.subnet == subnet.name for each in container.attachments)
        )
        keys = dict.fromkeys(key for name in members for key in held.get(name, {}))
        for target, service in keys:
            # A member need not reach itself.
            others = [held.get(name, {}).get((target, service), set()) for name in members if name != target]
            families = set.intersection(*others) if others else set[int]()
            if families:
                yield Reachable((str(Subject.subnet(subnet.name)),), (target,), service, tuple(sorted(families)))
