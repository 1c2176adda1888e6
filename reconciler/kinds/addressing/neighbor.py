"""A permanent neighbor entry: whose hardware address an address has, told to the kernel instead of asked for.

Containers have one for their gateway, and the host has one for each container. Both hardware addresses are computed, so
nothing needs to be asked. The reason is the size of the kernel's table: one for the whole machine, 1,024 entries (gc_thresh3,
not visible in child namespaces), so that some 500 containers which talk to their gateway would overflow it. Permanent entries
do not count.

On a bridge whose subnet goes on by routes on other hosts, a proxy entry lets the bridge answer ARP and NDP for an address there.

It is recognised by its protocol number (naming.ROUTE_PROTOCOL) on a link of ours. A wrong hardware address is replaced in
place. IPv4 entries go with the last IPv4 address of their interface (arp_ifdown), so they depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import first_addresses
from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.settings.sysctl import ipv6_switch
from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.addresses import Announce, NeighborAdd, NeighborDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import CONTAINER, subject_in
from reconciler.state.uapi import NUD_PERMANENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor(Record):
    """`address` on the far side of `dev` has the hardware address `mac`; with `proxy`, we answer for it ourselves."""

    kind = "neighbor"
    can_change_hands = True

    dev: str
    address: str
    mac: str
    link: Ref = field(compare=False)
    proxy: bool = False
    own_address: Ref | None = field(default=None, compare=False)
    """The interface's own address, if IPv4."""
    about: str = field(default="host", compare=False)
    """Whose it is, for people: `container web`, `subnet front`."""
    announced: bool = field(default=False, compare=False)
    """Whether others on the link may remember another hardware address for it; always so with `proxy`."""

    @classmethod
    def ref_of(cls, netns: str, dev: str, address: str, *, proxy: bool = False) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{dev} {address}{' proxy' if proxy else ''}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev, self.address, proxy=self.proxy)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link, self.own_address) if self.own_address else (self.link,)

    @property
    def follows(self) -> tuple[Ref, ...]:
        return (ipv6_switch(self.netns, self.dev),) if ":" in self.address else ()

    @property
    def subject(self) -> str:
        return subject_in(self.netns, self.about)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.mac,) if self.netns == HOST and self.subject.startswith(CONTAINER) else ()

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        # One that was read knows the bridge only.
        return (self.mac,) if self.netns == HOST else ()

    def describe(self) -> str:
        return f"neighbor {self.address} {'answered for' if self.proxy else f'is {self.mac}'} on {self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns, ends in addressed_interfaces(snapshot).items():
            namespace = snapshot.namespaces[netns]
            own = first_addresses(namespace)
            for info in namespace.neighbors:
                if info.protocol != ROUTE_PROTOCOL or info.index not in ends:
                    continue
                if not (info.proxy or info.state & NUD_PERMANENT):
                    continue
                dev, link, about, _ = ends[info.index]
                cidr = None if ":" in info.address else own.get(info.index)
                address = Address.ref_of(netns, dev, cidr) if cidr else None
                yield cls(
                    netns=netns,
                    dev=dev,
                    address=info.address,
                    mac=info.mac,
                    link=link,
                    proxy=info.proxy,
                    own_address=address,
                    about=about,
                )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        make = NeighborAdd(self.netns, self.dev, self.address, self.mac, self.proxy)
        # Those who have talked to it would send to where it was, for as long as they remember.
        return (make, Announce(self.netns, self.dev, self.address, self.mac)) if self.proxy or self.announced else (make,)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (NeighborDelete(self.netns, self.dev, self.address, self.proxy),)
