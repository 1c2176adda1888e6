"""A DHCP client for a container's interface on a LAN: a process in its namespace that gets a lease, and renews it.

The client is udhcpc, BusyBox's. It runs with the host's files but in the container's network, and a script of ours writes what
the lease says as the interface's address and routes; nothing else of the host is touched, its resolver's file least of all. It is
recognised by a mark in its environment, like a container's command (see `process`). What it has made is the LAN's say: an
address of a lease has a lifetime, which ours never have, and its routes have the protocol `dhcp`, so nobody takes them for ours.

It belongs to one interface in one namespace. Where either is made again, so is the client. An engine's container that was
restarted has a new namespace, and a client that was left in the old one keeps that alive with all that is in it: a macvlan too,
whose hardware address no other can have until then. So it is a thing of its own, and is removed before anything is made; as is
the client of a container that somebody has removed.
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
"""The variable that says whose a client is: `<topology>/<host>/<container>/<interface>/<0 or 1>`; 1: it sets default routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp(Record):
    """The client of `container` for its interface `dev`."""

    kind = "dhcp"
    # Neither the interface nor the namespace ends a process that is in it.
    dies_with_parent = False

    container: str
    dev: str
    default: bool
    """Whether the LAN's router becomes the default route."""
    link: Ref | None = field(default=None, compare=False)
    """What makes the interface; None where that is not known, in what was read."""
    in_place: bool = True
    """Whether it runs in the namespace that the container has now."""

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
        # On Open vSwitch a pair is connected when its port is made; what is asked before is lost.
        return (OvsPort.ref_of(self.link.netns, self.link.name),) if self.link else ()

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        return (InterfaceFact(self.netns, self.dev, is_leased=True),)

    def describe(self) -> str:
        return f"DHCP client on {self.dev}" + ("" if self.in_place else ", in a namespace that is gone")

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
