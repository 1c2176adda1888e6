"""What every kind of tunnel answers: its ends on a host, and what else it needs there.

What stands above it (the bridge and its entries, neighbors, detours) is the same for every kind (`compile.overlay`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from reconciler.compile.model import HostSubnet, TunnelEnd
from reconciler.compile.view import HostView
from reconciler.kinds.firewall.set_elements import SetElement
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.state.record import Record
from reconciler.state.subject import Subject
from reconciler.topology.types import Subnet, TunnelKind


class Overlay(ABC):
    """A kind of tunnel between the hosts of a subnet."""

    name: ClassVar[TunnelKind]
    """What the file calls it."""
    link_type: ClassVar[type[Tunnel]]

    @abstractmethod
    def ends(self, topology: str, subnet: Subnet, host: str, local: str, remotes: tuple[str, ...]) -> tuple[TunnelEnd, ...]:
        """The ends on the host `host`, at the underlay address `local`, of what leads to the hosts at `remotes`."""

    @abstractmethod
    def link(self, topology: str, host_subnet: HostSubnet, end: TunnelEnd) -> Tunnel:
        """The link of an end; the bridge makes a port of it."""

    @abstractmethod
    def entries(self, end: TunnelEnd, remote: str, mac: str, about: Subject) -> Iterator[Record]:
        """The records that map a hardware address to the end `remote`. BROADCAST_MAC stands for all broadcasts."""

    @abstractmethod
    def elements(self, end: TunnelEnd) -> Iterator[SetElement]:
        """The elements of the table `inet` by which its packets are known."""

    @abstractmethod
    def find_taken(self, view: HostView, host_subnet: HostSubnet, end: TunnelEnd) -> Iterator[tuple[str, str]]:
        """What of the host's keeps the kernel from making it: a sentence, and what to do."""
