"""A macvlan: an interface with a hardware address of its own on the host's uplink, in a container, or on the host itself.

The uplink stays what it is; it only hands frames for a known hardware address to the macvlan that has it. No bridge is made,
and the host's bridges and filters never see such a frame. How the macvlans of one uplink reach each other is their mode
(ip-link(8), IEEE 802.1Qbg): `bridge`, directly; `vepa`, by a switch that sends frames back where they came from; `private`,
not at all; `passthru`, there is one only, and it has the uplink to itself, hardware address included.

The uplink never speaks to its own macvlans. So a host that is to reach its containers has a macvlan of its own in mode bridge,
with routes to them over it, and no address: it answers no ARP, or the LAN would learn two hardware addresses of the host.

A container's is made from the host's namespace, under its final name in the container's: moving a link drops its addresses. It
carries our mark in there, tag and alias. Uplink and mode are settled when it is made; all else is repaired in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.ownership import about, links_of, macvlan_ident, own_macvlans, owner_of
from reconciler.kinds.sysctl import LINK_DEFAULTS, Sysctl
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Macvlan(Record):
    """The macvlan `name` on the host's link `lower`; `mtu` in bytes."""

    kind = "macvlan"
    dies_with_parent = False

    name: str
    lower: str
    mode: str
    mac: str
    mtu: int
    group: int
    alias: str
    link_local: bool = False
    up: bool = True
    arp: bool = True
    owner: Ref | None = None
    """What its namespace belongs to; None in the host's own."""

    @classmethod
    def ref_of(cls, netns: str, name: str, mode: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, macvlan_ident(name, mode))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name, self.mode)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        # What a new link takes from its namespace must be right before it is made.
        return tuple(Sysctl.ref_of(self.netns, key) for key in LINK_DEFAULTS) if self.netns != HOST else ()

    @property
    def subject(self) -> str:
        return about(parse_alias(self.alias), self.netns)

    def describe(self) -> str:
        return f"macvlan {self.name} on {self.lower or 'a link that is gone'}, mode {self.mode}, MTU {self.mtu}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        host = links_of(snapshot, HOST)
        for link in own_macvlans(snapshot):
            info = link.info
            lower = host.links.get(info.peer)
            yield cls(
                netns=link.netns,
                name=info.name,
                lower=lower.name if lower else "",
                mode=dict(info.options).get("mode", ""),
                mac=info.mac,
                mtu=info.mtu,
                group=info.group,
                alias=info.alias,
                link_local=info.link_local,
                up=info.up,
                arp=info.arp,
                owner=owner_of(snapshot, link.netns),
            )

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        return ((self.netns, self.name),)

    def must_recreate(self, before: Self) -> bool:
        return (self.lower, self.mode) != (before.lower, before.mode)

    def drops(self, before: Self) -> tuple[str, ...]:
        # Its permanent neighbor entries as well (neigh_changeaddr).
        return ("neighbor",) if self.mac != before.mac else ()

    def lower_create(self) -> tuple[Step, ...]:
        options = (("link", self.lower), ("mode", self.mode))
        peer = Peer(self.netns, self.name, self.mac, self.mtu) if self.netns != HOST else None
        steps: tuple[Step, ...] = (
            LinkAdd(HOST, self.name, "macvlan", self.mac, self.mtu, self.group, peer=peer, options=options),
            LinkSet(self.netns, self.name, alias=self.alias, link_local=self.link_local),
        )
        return (*steps, LinkSet(self.netns, self.name, up=True)) if self.up else steps

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        change = LinkSet(
            self.netns,
            self.name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            alias=self.alias if self.alias != before.alias else None,
            link_local=self.link_local if self.link_local != before.link_local else None,
            up=self.up if self.up != before.up else None,
            arp=self.arp if self.arp != before.arp else None,
        )
        return (change,) if change != LinkSet(self.netns, self.name) else ()

    def lower_delete(self) -> tuple[Step, ...]:
        return (LinkDelete(self.netns, self.name, self.group),)
