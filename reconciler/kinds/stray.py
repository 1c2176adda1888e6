"""A foreign thing that occupies the position of a desired one, in an owned namespace or on an owned link: it is removed.

The root of a container can do anything to its own network. It can replace a route, call another link `eth0`, or give a
link such a name as a second one. netctl removes such a conflicting thing before it creates the desired one, and the
plan shows it. It carries no mark. netctl finds it by the key that the kernel allows only once: a route's destination
and metric, a link's name.

A route is deleted. A link is only renamed: it may be a device that was passed to the container, or the end of a foreign
cable. A rollback restores neither, unless the kernel created the route for an address of the host.

On the host's own links (its uplink, foreign bridges) nothing is removed: there `compile.conflicts` reports a conflict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route, find_ambiguous, is_plain
from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.marks import MARKED
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.sysctl import SILENCE, Sysctl
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.steps.addresses import StrayRouteAdd, StrayRouteDelete
from reconciler.state.steps.links import AltnameDelete, LinkDelete, LinkRename, LinkSet, QdiscDelete
from reconciler.state.steps.namespaces import SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject, subject_in
from reconciler.state.uapi import IPV6_MTU_MIN

NO_QUEUES = ("", "noqueue")
"""The values of a link's queueing discipline that mean none."""
QUEUELESS = ("veth", "macvlan")
"""The kinds of links to which the kernel assigns no queueing discipline (IFF_NO_QUEUE)."""


@dataclass(frozen=True, slots=True)
class Stray(Record):
    """The common part of all strays: `number` distinguishes those that look the same."""

    number: int
    about: Subject

    @property
    def is_remnant(self) -> bool:
        return True

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:  # noqa: ARG003
        # The desired records decide which things conflict: see `find_strays`.
        return iter(())

    def lower_create(self) -> tuple[Step, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayRoute(Stray):
    """A route to `dst`, with the metric of one of netctl's. `form` is as in RouteInfo."""

    kind = "stray-route"

    family: int
    dst: str
    dev: str
    via: str
    metric: int
    protocol: int
    form: str
    nexthop: int = 0

    @classmethod
    def ref_of(cls, netns: str, family: int, dst: str, number: int) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{family} {dst} {number}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.family, self.dst, self.number)

    @property
    def is_remnant(self) -> bool:
        # The kernel's own for an address on a bridge: without it, the host would not reach its containers.
        return self.netns != HOST or bool(self.form or self.via)

    def describe(self) -> str:
        form, via = f"{self.form} " if self.form else "", f" via {self.via}" if self.via else ""
        return f"{form}route {self.dst}{via}{f' dev {self.dev}' if self.dev else ''} of protocol {self.protocol}"

    def lower_create(self) -> tuple[Step, ...]:
        if self.is_remnant:
            return ()
        return (StrayRouteAdd(self.netns, self.family, self.dst, self.dev, self.metric, self.protocol),)

    def lower_delete(self) -> tuple[Step, ...]:
        key = (self.netns, self.family, self.dst, self.dev, self.via, self.metric)
        return (StrayRouteDelete(*key, self.protocol, self.form, self.nexthop),)


@dataclass(frozen=True, slots=True, kw_only=True)
class StraySwitch(Stray):
    """IPv6 that is off for the link `dev` alone, in a namespace with IPv6."""

    kind = "stray-switch"

    dev: str

    @classmethod
    def ref_of(cls, netns: str, dev: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, dev)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev)

    def describe(self) -> str:
        return f"disable_ipv6 of {self.dev}"

    def lower_delete(self) -> tuple[Step, ...]:
        return (SysctlWrite(self.netns, interface_key(6, self.dev, "disable_ipv6"), "0", remember=False, if_there=True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayQueue(Stray):
    """A queueing discipline at the root of the link `dev` that is no rate limit of netctl's."""

    kind = "stray-queue"

    dev: str
    queue: str

    @classmethod
    def ref_of(cls, netns: str, dev: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, dev)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev)

    def describe(self) -> str:
        return f"queue {self.queue} of {self.dev}"

    def lower_delete(self) -> tuple[Step, ...]:
        return (QdiscDelete(self.netns, self.dev),)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayLink(Stray):
    """A link with the name of one of netctl's; with `altname`, as its second name."""

    kind = "stray-link"

    name: str
    altname: str
    link_kind: str
    group: int
    cut: bool
    """Whether it is deleted. In the lab's router, where all is netctl's, it may be an owned link that lost its mark."""
    holder: Ref | None
    """The owned veth whose remote end it is, under a wrong name."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.altname or self.name)

    @property
    def follows(self) -> tuple[Ref, ...]:
        return (self.holder,) if self.holder else ()

    def describe(self) -> str:
        what = f"{self.link_kind or 'link'} {self.name}"
        if self.altname:
            return f"second name {self.altname} of {what}"
        return what if self.cut else f"{what}, moved aside"

    def lower_delete(self) -> tuple[Step, ...]:
        if self.altname:
            return (AltnameDelete(self.netns, self.name, self.altname),)
        if self.cut:
            return (LinkDelete(self.netns, self.name, self.group),)
        # Before Linux 6.2 a link that is up cannot be renamed.
        return (LinkSet(self.netns, self.name, up=False), LinkRename(self.netns, self.name))


def find_strays(snapshot: Snapshot, live: HostState, desired: HostState) -> Iterator[Record]:
    """The things that conflict with `desired`; `live` are the records that are recognised already."""
    yield from Address.recognise_odd(snapshot, desired.records)
    yield from _find_routes(snapshot, desired)
    yield from _find_links(snapshot, live, desired)
    yield from _find_queues(snapshot)
    yield from _find_settings(snapshot, live, desired)


# --- routes -----------------------------------------------------------------------------------------------------------


def _find_routes(snapshot: Snapshot, desired: HostState) -> Iterator[StrayRoute]:
    wanted: dict[str, dict[tuple[int, str, int], Subject]] = {}
    for record in desired.records.values():
        if isinstance(record, Route | StrayRoute):
            wanted.setdefault(record.netns, {})[record.family, record.dst, record.metric] = record.about
    ends = addressed_interfaces(snapshot)
    for netns, keys in wanted.items():
        namespace, own = snapshot.namespaces.get(netns, NamespaceInfo()), ends.get(netns, {})
        ambiguous = find_ambiguous(namespace)
        others = (info for info in namespace.routes if info.key in keys and not is_plain(info, own, ambiguous))
        found = [info for info in others if netns != HOST or info.index in own]
        for number, info in enumerate(found, 1):
            link = namespace.links.get(info.index)
            dev, about = link.name if link else "", keys[info.key]
            yield StrayRoute(
                netns=netns,
                number=number,
                about=about,
                family=info.family,
                dst=info.dst,
                dev=dev,
                via=info.via,
                metric=info.metric,
                protocol=info.protocol,
                form=info.form,
                nexthop=info.nexthop,
            )


# --- links ------------------------------------------------------------------------------------------------------------


def _find_links(snapshot: Snapshot, live: HostState, desired: HostState) -> Iterator[StrayLink]:
    # The plan deletes them first, so that their names are free.
    going = {(one.netns, one.name) for one in live.records.values() if isinstance(one, Macvlan) and _is_going(one, desired)}
    far_ends = {(record.peer_netns, record.peer_name): record.ref for record in live.records.values() if isinstance(record, Veth)}
    for record in desired.records.values():
        cut: LinkInfo | None = None
        for netns, name in _places_of(record):
            namespace = snapshot.namespaces.get(netns)
            link = _find_holder(namespace, name) if namespace else None
            holder = far_ends.get((netns, link.name)) if link else None
            if link is None or (link.name == name and (holder == record.ref or _is_there(record, netns, live))):
                continue
            if (netns, name) in going and link.name == name:
                continue
            if cut and (cut.index, cut.peer) == (link.peer, link.index):
                continue  # the other end of a cable that is deleted
            altname = "" if link.name == name else name
            if netns == record.netns and not altname and netns in MARKED:
                cut = link
            yield StrayLink(
                netns=netns,
                number=1,
                about=record.subject,
                name=link.name,
                altname=altname,
                link_kind=link.kind,
                group=link.group,
                cut=cut is link,
                holder=holder,
            )


def _is_going(record: Record, desired: HostState) -> bool:
    wanted = desired.records.get(record.ref)
    return wanted is None or wanted.must_recreate(record)


def _places_of(record: Record) -> Iterator[tuple[str, str]]:
    """The names that an owned link needs, except for those in the host's own namespace."""
    return (interface for interface in record.interfaces if interface[0] != HOST)


def _is_there(record: Record, netns: str, live: HostState) -> bool:
    """Whether the record's own local end has the name."""
    return record.netns == netns and record.ref in live.records


def _find_holder(namespace: NamespaceInfo, name: str) -> LinkInfo | None:
    links = namespace.links.values()
    return next((link for link in links if link.name == name), None) or next(
        (link for link in links if name in link.altnames), None
    )


# --- settings of links ------------------------------------------------------------------------------------------------


def _find_queues(snapshot: Snapshot) -> Iterator[StrayQueue]:
    """Queueing disciplines at either end of a container's cable that are no rate limits; such a one may drop anything."""
    for netns, ends in addressed_interfaces(snapshot).items():
        namespace = snapshot.namespaces[netns]
        limited = {rate.index for rate in namespace.rates}
        for index, end in ends.items():
            link = namespace.links[index]
            queue = link.qdisc if link.kind in QUEUELESS and end.about.container_name else ""
            if queue not in NO_QUEUES and index not in limited:
                yield StrayQueue(netns=netns, number=1, about=end.about, dev=end.name, queue=queue)


def _find_settings(snapshot: Snapshot, live: HostState, desired: HostState) -> Iterator[StraySwitch]:
    for ref in desired.records.keys() - live.records.keys():
        record = desired.records[ref]
        if ref.netns == HOST or not isinstance(record, Address):
            continue
        link = _find_end(snapshot, record.netns, record.dev)
        if link is None or _is_silent(live, record.netns):
            continue
        if ":" in record.cidr and not link.ipv6 and link.mtu >= IPV6_MTU_MIN:
            yield StraySwitch(netns=record.netns, number=1, about=record.about, dev=record.dev)


def _is_silent(live: HostState, netns: str) -> bool:
    """Whether IPv6 is off in the whole namespace: the record of that turns on the links, too, and off again in a rollback."""
    netns_record, switch = live.records.get(Netns.ref_of(netns)), live.records.get(Sysctl.ref_of(netns, SILENCE))
    return (isinstance(netns_record, Netns) and not netns_record.ipv6) or (isinstance(switch, Sysctl) and switch.value != "0")


def _find_end(snapshot: Snapshot, netns: str, dev: str) -> LinkInfo | None:
    """The owned link in the namespace that has the name."""
    ends = addressed_interfaces(snapshot).get(netns, {})
    return next((snapshot.namespaces[netns].links[index] for index, end in ends.items() if end.name == dev), None)
