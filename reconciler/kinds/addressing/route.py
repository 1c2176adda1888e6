"""A route: a subnet's connected one, a default route, one to a container on another host, the lab router's to a subnet.

netctl recognises a route by its protocol number (naming.ROUTE_PROTOCOL, 78) on an owned link. A route over the host's
uplink, which is not netctl's, is recognised by its metric: the topology's tag (naming.group_of), which no other route
has. Another next hop, source or metric is repaired in place, by a deletion and a creation in one batch. The kernel
identifies a route also by its metric, so it would add a second one.

On an owned link, a foreign route with the same destination and metric is deleted (see `stray`).

With the last IPv4 address of an interface, the kernel silently deletes the interface's IPv4 routes (fib_disable_ip). So
an IPv4 route depends on its interface's address, and is re-created when that changes. IPv6 routes stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from operator import attrgetter
from typing import Self

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.holders import holders_of
from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.settings.sysctl import needed_for_ipv6
from reconciler.kinds.uplink import find_uplink
from reconciler.state.naming import ROUTE_PROTOCOL, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, is_container_netns
from reconciler.state.snapshot import NamespaceInfo, RouteInfo, Snapshot
from reconciler.state.steps.addresses import RouteAdd, RouteDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Record):
    """`dst` (a CIDR, or "default") over `dev`, which `link` creates (None: not netctl's); `address` is its own, if IPv4.

    With `src`, `address` is that one: the kernel deletes a route together with its source. A `metric` of 0 is the
    family's default, which is 1024 for IPv6 in the kernel.
    """

    kind = "route"

    family: int
    dst: str
    dev: str
    link: Ref | None = field(compare=False)
    via: str = ""
    src: str = ""
    metric: int = 0
    address: Ref | None = field(default=None, compare=False)
    connected: Ref | None = field(default=None, compare=False)
    """The route by which `via` is reached, or the route of an IPv6 source."""
    uplink: Ref | None = field(default=None, compare=False)
    """The uplink in a bridge which `dev` replaces: the next hop is reachable after that move."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `container web`, `subnet front`."""
    copy: int = 0
    """The number of routes before it with the same destination and interface and with netctl's protocol.

    The root of a container can create such routes. The file never asks for one.
    """

    @classmethod
    def ref_of(cls, netns: str, family: int, dst: str, dev: str, copy: int = 0) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{family} {dst} {dev}" + (f" copy {copy}" if copy else ""))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.dst, self.dev, self.copy)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return tuple(ref for ref in (self.link, self.address) if ref)

    @property
    def follows(self) -> tuple[Ref, ...]:
        switches = needed_for_ipv6(self.netns, self.dev) if self.family == 6 and self.link else ()
        return tuple(ref for ref in (self.connected, self.uplink, *switches) if ref)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        return (self.dev,) if self.subject == HOST_SUBJECT else ()

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        if not is_container_netns(self.netns) or not self.via:
            return None
        is_default = self.dst == "default"
        words = self.dst if is_default else f"route to {self.dst}"
        return Phrase(Part.ROUTES, f"{words} via {self.via}", "" if is_default else "to")

    @classmethod
    def phrases(cls, records: Sequence[Self], facts: InterfaceFacts) -> Iterator[Phrase]:
        yield from super(Route, cls).phrases(records, facts)
        if afar := sum(record.netns == HOST and record.link is None for record in records):
            yield Phrase(Part.HOST_ROUTES, f"{number(afar, 'route')} to other hosts")

    def describe(self) -> str:
        family = "IPv6 " if self.family == 6 and self.dst == "default" else ""
        return f"{family}route {self.dst}{f' via {self.via}' if self.via else ''} dev {self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        tag = group_of(snapshot.topology)
        for netns, ends in addressed_interfaces(snapshot).items():
            namespace = snapshot.namespaces[netns]
            addresses, ambiguous = first_addresses(namespace), find_ambiguous(namespace)
            # For the lab, a lab host's uplink is owned; the routes over it with the tag are the host's.
            routes = [info for info in namespace.routes if info.metric != tag and is_plain(info, ends, ambiguous)]
            copies = _number_copies(routes)
            for info in routes:
                dev, link, about, _ = ends[info.index]
                cidr = addresses.get(info.index) if info.family == 4 else None
                address = Address.ref_of(netns, dev, cidr) if cidr else None
                connected = _find_connected(namespace, info)
                yield cls(
                    netns=netns,
                    family=info.family,
                    dst=info.dst,
                    dev=dev,
                    link=link,
                    via=info.via,
                    src=info.src,
                    metric=info.metric,
                    address=address,
                    connected=cls.ref_of(netns, info.family, connected.dst, dev) if connected else None,
                    about=about,
                    copy=copies.get(id(info), 0),
                )
        yield from cls._over_uplinks(snapshot)

    @classmethod
    def _over_uplinks(cls, snapshot: Snapshot) -> Iterator[Self]:
        """The routes over links that are not netctl's."""
        namespace = snapshot.namespaces.get(HOST, NamespaceInfo())
        tag = group_of(snapshot.topology)
        sources = {
            info.cidr.partition("/")[0]: Address.ref_of(HOST, namespace.links[info.index].name, info.cidr)
            for info in namespace.addresses
            if info.index in namespace.links
        }
        holders = holders_of(snapshot)
        for info in namespace.routes:
            if (info.protocol, info.metric) == (ROUTE_PROTOCOL, tag) and not info.form and info.index in namespace.links:
                link = namespace.links[info.index]
                uplink = find_uplink(namespace, link)
                source = sources.get(info.src)
                # The kernel deletes an IPv4 route with its source. It keeps an IPv6 route, which still needs the
                # address to be created.
                address, connected = (source, None) if info.family == 4 else (None, source)
                yield cls(
                    netns=HOST,
                    family=info.family,
                    dst=info.dst,
                    dev=link.name,
                    link=None,
                    via=info.via,
                    src=info.src,
                    metric=info.metric,
                    address=address,
                    connected=connected,
                    uplink=uplink,
                    about=holders.around(info.dst) or HOST_SUBJECT,
                )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (RouteAdd(self.netns, self.family, self.dst, self.dev, self.via, self.src, self.metric),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (RouteDelete(self.netns, self.family, self.dst, self.dev, self.via, self.src, self.metric),)


def _number_copies(routes: Sequence[RouteInfo]) -> Mapping[int, int]:
    """The number of routes to the same destination by the same interface before each one, by the identity of the route.

    The one of the usual metric is the first. Almost always there are no others.
    """
    if len({(info.family, info.dst, info.index) for info in routes}) == len(routes):
        return {}
    seen: Counter[tuple[int, str, int]] = Counter()
    found = {}
    for info in sorted(routes, key=attrgetter("metric")):
        key = (info.family, info.dst, info.index)
        found[id(info)] = seen[key]
        seen[key] += 1
    return found


def find_ambiguous(namespace: NamespaceInfo) -> frozenset[tuple[int, str, int]]:
    """The keys that routes of netctl's protocol have in another form: deleting such a route could delete netctl's instead."""
    return frozenset([info.key for info in namespace.routes if info.form and info.protocol == ROUTE_PROTOCOL])


def is_plain(info: RouteInfo, ends: Container[int], ambiguous: Container[tuple[int, str, int]]) -> bool:
    """Whether it is recognised as a route of netctl's, desired or not."""
    return info.protocol == ROUTE_PROTOCOL and info.index in ends and info.key not in ambiguous


def _find_connected(namespace: NamespaceInfo, route: RouteInfo) -> RouteInfo | None:
    """The connected route to `route`'s next hop, which must exist first when a rollback re-creates `route`."""
    if not route.via:
        return None
    for other in namespace.routes:
        is_beside = (other.index, other.family, other.protocol, other.via) == (route.index, route.family, route.protocol, "")
        if is_beside and other.dst != "default" and _holds(other.dst, route.via):
            return other
    return None


@cache
def _holds(network: str, address: str) -> bool:
    """Whether the network contains the address; cached, because a thousand containers ask for one gateway."""
    return ip_address(address) in ip_network(network)


def first_addresses(namespace: NamespaceInfo) -> dict[int, str]:
    """The first IPv4 address by interface number; when it is deleted, the interface loses IPv4."""
    first: dict[int, str] = {}
    for info in namespace.addresses:
        if ":" not in info.cidr:
            first.setdefault(info.index, info.cidr)
    return first
