"""A permanent neighbor entry: the hardware address of an IP address, configured instead of resolved.

Containers have one for their gateway, and the host has one for each container. Both hardware addresses are computed, so
the kernel need not resolve them. The reason is the size of the kernel's table. The whole machine has one, with 1,024
entries (gc_thresh3, not visible in child namespaces). Some 500 containers that talk to their gateway would overflow it.
Permanent entries do not count.

On a bridge whose subnet reaches other hosts by routes, a proxy entry lets the bridge answer ARP and NDP for an address
there.

netctl recognises the entry by its protocol number (naming.ROUTE_PROTOCOL) on an owned link. A wrong hardware address is
replaced in place. The kernel deletes IPv4 entries with the last IPv4 address of their interface (arp_ifdown), so they
depend on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import first_addresses
from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.settings.sysctl import needed_for_ipv6
from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.addresses import Announce, NeighborAdd, NeighborDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.uapi import NUD_PERMANENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor(Record):
    """`address` is reached over `dev` at the hardware address `mac`; with `proxy`, the host answers for it."""

    kind = "neighbor"
    can_change_hands = True

    dev: str
    address: str
    mac: str
    link: Ref = field(compare=False)
    proxy: bool = False
    own_address: Ref | None = field(default=None, compare=False)
    """The interface's own address, if it is IPv4."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `container web`, `subnet front`."""
    announced: bool = field(default=False, compare=False)
    """Whether nodes of the link may remember another hardware address for it; always so with `proxy`."""

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
        # As of an address (else EINVAL).
        return needed_for_ipv6(self.netns, self.dev) if ":" in self.address else ()

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.mac,) if self.netns == HOST and self.subject.container_name else ()

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        # A live entry knows only its bridge.
        return (self.mac,) if self.netns == HOST else ()

    @property
    def label(self) -> str:
        return f"neighbor {self.address} on {self.dev}"

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
        # Nodes that talked to it would send to its old hardware address until their entry expires.
        return (make, Announce(self.netns, self.dev, self.address, self.mac)) if self.proxy or self.announced else (make,)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (NeighborDelete(self.netns, self.dev, self.address, self.proxy),)
