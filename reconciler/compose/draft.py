"""The topology that an import writes, as values. Notes become comments at the part that they are about."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.topology.expand import LAN_MODES
from reconciler.topology.types import IPAddress, Network, SubnetMode


@dataclass(frozen=True, slots=True)
class SubnetDraft:
    """A network of Compose's or of an engine's, as a subnet."""

    name: str
    cidrs: tuple[Network, ...]
    mode: SubnetMode = "nat"
    gateways: tuple[IPAddress, ...] = ()
    mtu: int | None = None
    uplink: str = ""
    kind: str = ""
    """The key `type`, of a subnet on a LAN."""
    hides_ports: bool = False
    """Whether its containers do not reach each other (`enable_icc: false`)."""
    notes: tuple[str, ...] = ()

    @property
    def is_lan(self) -> bool:
        """Whether it is the LAN of one of the host's interfaces."""
        return self.mode in LAN_MODES


@dataclass(frozen=True, slots=True)
class AttachmentDraft:
    """A container's endpoint. Without an address netctl chooses one (`auto`)."""

    subnet: str
    addresses: tuple[IPAddress, ...] = ()
    mac: str = ""
    interface: str = ""
    is_default: bool = False
    is_isolated: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortDraft:
    """A published port in its short form, or (without one) only notes."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ComposeMembers:
    """All containers of a service."""

    project: str
    service: str


@dataclass(frozen=True, slots=True)
class ContainerDraft:
    """The containers of a service, or one that an engine runs (`existing` is its name there)."""

    name: str
    existing: ComposeMembers | str
    attachments: tuple[AttachmentDraft, ...] = ()
    ports: tuple[PortDraft, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopologyDraft:
    """All of it."""

    name: str
    heading: tuple[str, ...]
    """The comment at its top."""
    subnets: tuple[SubnetDraft, ...]
    containers: tuple[ContainerDraft, ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Services that netctl does not connect, each with the reasons."""

    def subnet(self, name: str) -> SubnetDraft:
        """The subnet of that name."""
        return next(subnet for subnet in self.subnets if subnet.name == name)
