"""The common part of all kinds of links: fields, recognition, comparison, and steps.

A kind of link states its options on the wire in both directions. It also states the fields that are fixed at its
creation, and one line of summary. It overrides a step only if the kernel treats its kind differently.

The kernel determines the order of the steps. It ignores IFLA_IFALIAS in the message that creates a link (only
do_setlink reads it, net/core/rtnetlink.c), so a second message sets the alias. The last one sets the link up: a link
that is up is complete. Without IPv6 the link gets no link-local address, so that it sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from reconciler.kinds.links.marks import OwnLink, about, altname_of, own_links, owner_of, read_altname
from reconciler.kinds.links.wire import Table
from reconciler.state.naming import Alias, parse_alias
from reconciler.state.record import InterfaceKey, Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import AltnameAdd, LinkAdd, LinkDelete, LinkSet
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject
from reconciler.state.uapi import IPV6_MTU_MIN

Options = tuple[tuple[str, str], ...]
"""Options of a link's kind or of a bridge port, by iproute2's names and spelling."""

DOWN = "up is off, wanted on"
"""The reason of a change of a link that is down."""
FLUSHED = ("address", "route", "neighbor")
"""The kinds of records that the kernel deletes with a link that is set down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """The link called `name`; `mtu` in bytes."""

    dies_with_parent = False
    fixed: ClassVar[tuple[str, ...]] = ()
    """The fields that the kernel fixes at the link's creation: a change of one of them forces a re-creation."""
    wire: ClassVar[tuple[Table, ...]] = ()
    """The options of the kind in netlink (IFLA_INFO_DATA). If several tables have a name, the first that accepts the value."""
    lower_option: ClassVar[str] = ""
    """The option that names the link below; "" if the kind has none. If `wire` does not have it, IFLA_LINK holds it."""
    has_forwarding_table: ClassVar[bool] = False
    """Whether links of the kind have a forwarding database (see `fdb`)."""

    name: str
    mac: str
    mtu: int
    group: int
    alias: str
    altname: str = ""
    link_local: bool = False
    """Whether the kernel creates an IPv6 link-local address for it."""
    arp: bool = True
    """Whether it uses ARP (IFF_NOARP is not set)."""
    up: bool = True
    owner: Ref | None = None
    """The record of its namespace; None for the host's own."""

    # --- identity and summary ---------------------------------------------------------------------------------------

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def subject(self) -> Subject:
        return about(parse_alias(self.alias), self.netns)

    @property
    def interfaces(self) -> tuple[InterfaceKey, ...]:
        return ((self.netns, self.name),)

    @property
    def is_addressed(self) -> bool:
        """Whether the addresses, routes and neighbors on its interfaces are the topology's."""
        return True

    @classmethod
    def altname_of(cls, alias: Alias, name: str) -> str:
        """The altname of a link called `name` that has the alias."""
        return altname_of(alias, name)

    # --- recognition ------------------------------------------------------------------------------------------------

    @classmethod
    def find_own(cls, snapshot: Snapshot) -> Iterator[OwnLink]:
        """The links of this kind that carry the topology's mark."""
        return own_links(snapshot, cls.kind)

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for link in cls.find_own(snapshot):
            yield cls(**cls.read_fields(snapshot, link))

    @classmethod
    def read_fields(cls, snapshot: Snapshot, link: OwnLink) -> dict[str, Any]:
        """The fields of a live link."""
        info = link.info
        return {
            "netns": link.netns,
            "name": info.name,
            "mac": info.mac,
            "mtu": info.mtu,
            "group": info.group,
            "alias": info.alias,
            "altname": read_altname(link, cls.altname_of),
            "link_local": info.link_local,
            "arp": info.arp,
            "up": info.up,
            "owner": owner_of(snapshot, link.netns),
            **cls.parse_options(dict(info.options)),
        }

    # --- its options on the wire ------------------------------------------------------------------------------------

    @property
    def wire_options(self) -> Options:
        """The options of its kind with which it is created."""
        return ()

    @classmethod
    def parse_options(cls, _options: Mapping[str, str]) -> dict[str, Any]:
        """The fields in the options of a live link: the inverse of `wire_options`."""
        return {}

    # --- drift ------------------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"

    def describe_drift(self, live: Record | None, reason: str) -> str:
        if not isinstance(live, Link) or live.up or not self.up:
            return Record.describe_drift(self, live, reason)
        words = [f"{self._down_label(live)} is down", *(each for each in reason.split("; ") if each != DOWN)]
        return "; ".join(words)

    def _down_label(self, _live: Link) -> str:
        """The short name of what is down."""
        return self.label

    def resets(self, before: Self, child: Record) -> bool:
        # The kernel deletes the routes and neighbors of a link that is set down (fib_disable_ip, neigh_ifdown), and its IPv6
        # addresses (addrconf_ifdown).
        is_flushed = before.up and not self.up and child.kind in FLUSHED
        is_silenced = bool(self.silenced(before)) and child.kind in (*FLUSHED, "sysctl")
        return is_flushed or is_silenced or Record.resets(self, before, child)

    # --- changes and steps ------------------------------------------------------------------------------------------

    def must_recreate(self, before: Self) -> bool:
        return any(getattr(self, each) != getattr(before, each) for each in self.fixed)

    def drops(self, before: Self) -> tuple[str, ...]:
        # The kernel also deletes its permanent neighbor entries (neigh_changeaddr, by arp_netdev_event and ndisc_netdev_event).
        return ("neighbor",) if (self.mac, self.arp) != (before.mac, before.arp) else ()

    def silenced(self, before: Self) -> tuple[InterfaceKey, ...]:
        return ((self.netns, self.name),) if loses_ipv6(before.mtu, self.mtu) else ()

    # --- its steps --------------------------------------------------------------------------------------------------

    def lower_create(self) -> tuple[Step, ...]:
        add = self.lower_add()
        rest = LinkSet(
            self.netns,
            self.name,
            mtu=None if add.mtu else self.mtu,
            alias=self.alias,
            link_local=self.link_local,
            arp=None if self.arp else False,
        )
        up = self.lower_up() if self.up else ()
        return (add, rest, *self._lower_altname(""), *self.lower_port(None), *up)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps = (*self.lower_change(before), *self._lower_ipv6(before), *self._lower_altname(before.altname))
        steps = (*steps, *self.lower_port(before))
        if self.up == before.up:
            return steps
        return (*steps, *(self.lower_up() if self.up else (LinkSet(self.netns, self.name, up=False),)))

    def lower_delete(self) -> tuple[Step, ...]:
        return (LinkDelete(self.netns, self.name, self.group),)

    def lower_add(self) -> LinkAdd:
        """The step that creates the link, with all that the kernel accepts in one message."""
        return LinkAdd(self.netns, self.name, self.kind, self.mac, self.mtu, self.group, options=self.wire_options)

    def lower_change(self, before: Self) -> tuple[Step, ...]:
        """The steps that change the link's own attributes."""
        return drop_empty(self.change_from(before))

    def lower_port(self, _before: Self | None) -> tuple[Step, ...]:
        """The steps that set the link's options as a bridge port; without `before`, those of a new link."""
        return ()

    def lower_up(self) -> tuple[Step, ...]:
        """The steps that set the link up."""
        return (LinkSet(self.netns, self.name, up=True),)

    def change_from(self, before: Self) -> LinkSet:
        """The message for all attributes that differ."""
        return LinkSet(
            self.netns,
            self.name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            alias=self.alias if self.alias != before.alias else None,
            link_local=self.link_local
            if self.link_local != before.link_local and not regains_ipv6(before.mtu, self.mtu)
            else None,
            arp=self.arp if self.arp != before.arp else None,
        )

    def _lower_ipv6(self, before: Self) -> tuple[Step, ...]:
        """The step after which a link with a larger MTU has the right link-local address, or none."""
        own = LinkSet(self.netns, self.name, link_local=self.link_local)
        return (own,) if regains_ipv6(before.mtu, self.mtu) else ()

    def _lower_altname(self, held: str) -> tuple[Step, ...]:
        return (AltnameAdd(self.netns, self.name, self.altname),) if self.altname and self.altname != held else ()


def loses_ipv6(mtu_before: int, mtu: int) -> bool:
    """Whether the kernel takes IPv6 from a link with such a change: an MTU that is too small for it (addrconf_notify)."""
    return mtu < IPV6_MTU_MIN <= mtu_before


def regains_ipv6(mtu_before: int, mtu: int) -> bool:
    """Whether the kernel gives a link IPv6 when its MTU changes, with settings of its own (addrconf_notify, net/ipv6/addrconf.c).

    Until then it takes none.
    """
    return mtu_before < IPV6_MTU_MIN <= mtu


def drop_empty(*steps: LinkSet) -> tuple[LinkSet, ...]:
    """The messages that change an attribute."""
    return tuple(step for step in steps if step != LinkSet(step.netns, step.name))
