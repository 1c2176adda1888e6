"""The interface of every kind of bridge: the records of the bridge itself, of its ports, its tunnel and its uplink.

The layers above the bridge (addresses, routes, neighbors, settings, the `inet` table) are the same for every kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reconciler.compile.model import Endpoint, HostSubnet, TunnelEnd
from reconciler.compile.view import HostView
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.marks import altname_of
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.links.veth import Veth
from reconciler.state.host import HostFacts
from reconciler.state.naming import DIRECT, Alias, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.subject import Subject
from reconciler.topology.types import Attachment

Refusal = tuple[str, str]
"""The fault, and the advice."""


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A container's connection to the bridge; `owner` is the record of its namespace, `mtu` that of its own end."""

    endpoint: Endpoint
    attachment: Attachment
    owner: Ref
    mtu: int
    hairpin: bool
    """Whether a frame may leave by the port where it came in."""


@dataclass(frozen=True, slots=True)
class SubnetBridge(ABC):
    """The bridge of the host `view` in the subnet of `host_subnet`."""

    passes_netfilter: ClassVar[bool]
    """Whether frames between its ports pass netfilter: then nftables filters them, and can forward them by the fast path."""

    link_kind: ClassVar[str]
    """The kind of its link, as the kernel names it (ip-link(8))."""

    view: HostView
    host_subnet: HostSubnet

    @classmethod
    @abstractmethod
    def find_lack(cls, facts: HostFacts) -> str:
        """The reason why the host cannot have such a bridge; "" if it can."""

    @classmethod
    @abstractmethod
    def refuse_existing(cls, name: str, host: str) -> Refusal | None:
        """Why a subnet cannot use the host's own bridge `name`; None if it can."""

    @classmethod
    @abstractmethod
    def refuse_uplink(cls, name: str, host: str, mode: str) -> Refusal | None:
        """Why the host's own bridge `name` cannot be the uplink of a subnet of that mode; None if it can."""

    @abstractmethod
    def make(self) -> Iterator[Record]:
        """The bridge itself, and its rules that belong to no port."""

    @abstractmethod
    def port(self, port: ContainerPort) -> Iterator[Record]:
        """The cable of a container, and the rules for frames that the container sends by it."""

    @abstractmethod
    def tunnel(self, link: Tunnel) -> Iterator[Record]:
        """A tunnel to the subnet's other hosts as a port."""

    @abstractmethod
    def entries_behind(self, end: TunnelEnd, mac: str) -> Iterator[Record]:
        """The records by which the bridge finds a hardware address behind the tunnel."""

    @abstractmethod
    def uplink(self, name: str) -> Iterator[Record]:
        """The host's uplink as a port."""

    @property
    def topology(self) -> str:
        """The name of the topology."""
        return self.view.topology.name

    @property
    def about(self) -> Subject:
        """Its owner, for users."""
        return Subject.subnet(self.host_subnet.subnet)

    @property
    def alias(self) -> Alias:
        """Its mark."""
        return Alias(self.topology, DIRECT if self.host_subnet.lan else Bridge.kind, self.host_subnet.subnet)

    @property
    def altname(self) -> str:
        """Its second name."""
        return altname_of(self.alias, self.host_subnet.bridge)

    @property
    def mtu(self) -> int:
        """Its MTU in bytes. A bridge that replaces the uplink has the uplink's."""
        return self.host_subnet.lan.mtu if self.host_subnet.lan else self.host_subnet.mtu

    @property
    def link_local(self) -> bool:
        """Whether the kernel creates an IPv6 link-local address for it.

        Without one the host could not resolve a container's IPv6 neighbor. A bridge that replaces the uplink gets the
        uplink's.
        """
        return any(own.family == 6 for own in self.host_subnet.addresses)

    def _cable(self, port: ContainerPort, master: str, options: tuple[tuple[str, str], ...], *, arp: bool) -> Veth:
        endpoint = port.endpoint
        alias = Alias(self.topology, Veth.kind, endpoint.container, endpoint.subnet)
        return Veth(
            netns=HOST,
            name=endpoint.port,
            peer_netns=container_netns(endpoint.container),
            peer_name=endpoint.interface,
            mac=endpoint.mac,
            mtu=self.host_subnet.mtu,
            peer_mtu=port.mtu,
            group=group_of(self.topology),
            alias=str(alias),
            master=master,
            altname=Veth.altname_of(alias, endpoint.port),
            port_options=options,
            arp=arp,
            peer_owner=port.owner,
        )
