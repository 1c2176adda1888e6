"""A DHCP client for a container's interface on a LAN: a process in its namespace that gets and renews a lease.

The client is udhcpc of BusyBox. It runs with the host's files but in the container's network. A script of netctl's
applies the lease to the interface's address and routes. It changes nothing else of the host, in particular not its
resolver's file. netctl recognises the client by a mark in its environment, like a container's command (see `process`).
The lease decides address and routes. An address of a lease has a lifetime, which netctl's addresses never have, and its
routes have the protocol `dhcp`. So they are not taken for netctl's.

The client belongs to one interface in one namespace, and is re-created with either. A restarted container of an engine
has a new namespace. A client that remains in the old one keeps that alive with all its contents. One of these is the
macvlan, whose hardware address no other link can have until then. So the client is a record of its own, and is deleted
before anything is created. The same applies to the client of a container that an administrator has removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.openvswitch.bridge import OvsPort
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.addresses import DhcpStart, DhcpStop
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFact

DHCP_MARK = "NETCTL_DHCP"
"""The variable with a client's owner: `<topology>/<host>/<container>/<interface>/<0 or 1>`; 1: it sets default routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp(Record):
    """The client of `container` for its interface `dev`."""

    kind = "dhcp"
    # A process survives both its interface and the name of its namespace.
    dies_with_parent = False

    container: str
    dev: str
    default: bool
    """Whether the LAN's router becomes the default gateway."""
    link: Ref | None = field(default=None, compare=False)
    """The record that creates the interface; None if unknown, in a live record."""
    in_place: bool = True
    """Whether it runs in the container's current namespace."""

    @classmethod
    def ref_of(cls, netns: str, dev: str, *, in_place: bool = True) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, dev if in_place else f"{dev} left behind")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev, in_place=self.in_place)

    @property
    def is_remnant(self) -> bool:
        return not self.in_place

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,) if self.link else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        # On Open vSwitch, a pair is connected when its port is created; earlier requests would be lost.
        return (OvsPort.ref_of(self.link.netns, self.link.name),) if self.link else ()

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        return (InterfaceFact(self.netns, self.dev, is_leased=True),)

    def describe(self) -> str:
        return f"DHCP client on {self.dev}" + ("" if self.in_place else ", in a deleted namespace")

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for info in snapshot.dhcp_clients:
            link = info.link if info.in_place else None
            yield cls(
                netns=container_netns(info.container),
                container=info.container,
                dev=info.dev,
                default=info.default,
                link=link,
                in_place=info.in_place,
            )

    def must_recreate(self, before: Self) -> bool:
        return True

    def lower_create(self) -> tuple[Step, ...]:
        return (DhcpStart(self.netns, self.container, self.dev, self.default),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (DhcpStop(self.netns, self.container, self.dev),)
