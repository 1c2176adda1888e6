"""A route: the connected one of a subnet, a default route, one to a container on another host, the lab router's to a subnet.

It is recognised by its protocol number (naming.ROUTE_PROTOCOL, 78) on a link of ours. One over the host's uplink, which is
not ours, is known by its metric: that is the topology's tag (naming.group_of), which no other route has. A next hop, source
or metric that differs is repaired in place, as a deletion and a creation in one batch: the kernel takes a route with another
metric for another route.

Where it leads by a link of ours, another route for its destination and metric gives way to it (see `stray`).

With the last IPv4 address of an interface the kernel drops the interface's IPv4 routes (fib_disable_ip), without a word. So
an IPv4 route depends on its interface's address, and is made again where that changes. IPv6 routes stay.
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
from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.settings.sysctl import ipv6_switch
from reconciler.kinds.uplink import find_uplink
from reconciler.state.naming import ROUTE_PROTOCOL, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import NamespaceInfo, RouteInfo, Snapshot
from reconciler.state.steps.addresses import RouteAdd, RouteDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Record):
    """`dst` (a CIDR, or "default") over `dev`, which `link` makes (None: it is not ours); `address` is its own, if IPv4.

    With `src`, `address` is that one, for the kernel drops a route whose source goes. A `metric` of 0 is the family's default,
    which for IPv6 is 1024 in the kernel.
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
    """The route by which `via` is reached, or an IPv6 route's source."""
    uplink: Ref | None = field(default=None, compare=False)
    """The uplink in a bridge whose place `dev` has: the next hop is reached when that has happened."""
    about: str = field(default="host", compare=False)
    """Whose it is, for people: `container web`, `subnet front`."""
    copy: int = 0
    """How many more of the destination and interface stand before it, which bear our protocol as well: the root of a container
    can make such. The file never asks for one."""

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
        switch = ipv6_switch(self.netns, self.dev) if self.family == 6 and self.link else None
        return tuple(ref for ref in (self.connected, self.uplink, switch) if ref)

    @property
    def subject(self) -> str:
        return subject_in(self.netns, self.about)

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        return (self.dev,) if self.subject == HOST_SUBJECT else ()

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        if not self.netns.startswith("container:") or not self.via:
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
            addresses, spoilt = first_addresses(namespace), find_spoilt(namespace)
            # To the lab, a lab host's uplink is ours; what leads over it by the tag is the host's.
            routes = [info for info in namespace.routes if info.metric != tag and is_plain(info, ends, spoilt)]
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
        """What leads over links that are not ours."""
        namespace = snapshot.namespaces.get(HOST, NamespaceInfo())
        tag = group_of(snapshot.topology)
        sources = {
            info.cidr.partition("/")[0]: Address.ref_of(HOST, namespace.links[info.index].name, info.cidr)
            for info in namespace.addresses
            if info.index in namespace.links
        }
        for info in namespace.routes:
            if (info.protocol, info.metric) == (ROUTE_PROTOCOL, tag) and not info.form and info.index in namespace.links:
                link = namespace.links[info.index]
                uplink = find_uplink(namespace, link)
                source = sources.get(info.src)
                # An IPv4 route goes with its source address; one of IPv6 stays, but cannot be made before the address.
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
                )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (RouteAdd(self.netns, self.family, self.dst, self.dev, self.via, self.src, self.metric),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (RouteDelete(self.netns, self.family, self.dst, self.dev, self.via, self.src, self.metric),)


def _number_copies(routes: Sequence[RouteInfo]) -> Mapping[int, int]:
    """By the identity of a route: how many stand before it that lead to the same place by the same interface.

    The one of the usual metric is the first. Almost always there are none.
    """
    if len({(info.family, info.dst, info.index) for info in routes}) == len(routes):
        return {}
    seen: Counter[tuple[int, str, int]] = Counter()
    found = {}
    for info in sorted(routes, key=attrgetter("metric")):
        place = (info.family, info.dst, info.index)
        found[id(info)] = seen[place]
        seen[place] += 1
    return found


def find_spoilt(namespace: NamespaceInfo) -> frozenset[tuple[int, str, int]]:
    """The keys of which there are routes of our protocol in another form: who removes such a one could meet ours instead."""
    return frozenset([info.key for info in namespace.routes if info.form and info.protocol == ROUTE_PROTOCOL])


def is_plain(info: RouteInfo, ends: Container[int], spoilt: Container[tuple[int, str, int]]) -> bool:
    """Whether it is recognised as a route of ours, wanted or not."""
    return info.protocol == ROUTE_PROTOCOL and info.index in ends and info.key not in spoilt


def _find_connected(namespace: NamespaceInfo, route: RouteInfo) -> RouteInfo | None:
    """The route of ours by which `route`'s next hop is reached: it must be there first when a deletion is taken back."""
    if not route.via:
        return None
    for other in namespace.routes:
        is_beside = (other.index, other.family, other.protocol, other.via) == (route.index, route.family, route.protocol, "")
        if is_beside and other.dst != "default" and _holds(other.dst, route.via):
            return other
    return None


@cache
def _holds(network: str, address: str) -> bool:
    """Whether the address is of the network; a thousand containers ask the same of one gateway."""
    return ip_address(address) in ip_network(network)


def first_addresses(namespace: NamespaceInfo) -> dict[int, str]:
    """By interface number: its first IPv4 address, with which IPv4 on it ends."""
    first: dict[int, str] = {}
    for info in namespace.addresses:
        if ":" not in info.cidr:
            first.setdefault(info.index, info.cidr)
    return first
