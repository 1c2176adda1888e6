"""A tunnel: a port of a subnet's bridge that leads to the subnet's other hosts, over the underlay.

A tunnel learns nothing from packets, and floods nothing but broadcasts. The file says where each address is, and static entries
contain it (see `fdb` and `neighbor`). So learning is off. The port answers ARP and neighbor solicitations for remote addresses
from the bridge's neighbor table (`neigh_suppress`).

A kind of tunnel states what every firewall must know of its packets, and what it takes of the underlay's MTU. The outer packet
is never fragmented silently: the MTU leaves room for the overhead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from reconciler.kinds.firewall.sets import SetSpec
from reconciler.kinds.links.base import Options
from reconciler.kinds.links.port import QUIET, BridgePort, port_options

TUNNEL_PORT = port_options(*QUIET, ("neigh_suppress", "on"))
"""What the bridge knows of this port. `flood` is of unicast frames for an unknown address; broadcast and multicast do pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encapsulation:
    """The outer packets of a kind of tunnel, as firewalls know them. `received`, `sent` and `alike` are conditions of nft(8)."""

    protocol: str
    """Of IP, by nft's name."""
    port: int = 0
    """The usual destination port; 0 if the protocol has none."""
    header_bytes: int = 0
    """What stands between the IP header and the frame inside."""
    sets: Mapping[str, SetSpec] = field(default_factory=dict)
    """The sets of the table `inet` that the conditions look into."""
    received: tuple[str, ...] = ()
    """From another host's end to this host's."""
    sent: tuple[str, ...] = ()
    """From this host's end to another host's."""
    alike: tuple[str, ...] = ()
    """Every packet that looks like one of a tunnel, from any sender: only hosts of the topology may send them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel(BridgePort):
    """A tunnel from the underlay address `local`.

    If the bridge is Open vSwitch's, `master` is "", and its database says what is a port (`openvswitch`).
    """

    title: ClassVar[str]
    """What people call it."""
    overhead_bytes: ClassVar[Mapping[int, int]]
    """What it takes of a packet, by each family of the underlay that it can use."""
    encapsulation: ClassVar[Encapsulation]

    local: str
    port_options: Options = TUNNEL_PORT

    @property
    def label(self) -> str:
        return f"{self.title} {self.name}"

    @property
    def is_usual(self) -> bool:
        """Whether its packets have the usual port of its kind: what other firewalls drop is looked for by that."""
        return True

    @property
    def is_addressed(self) -> bool:
        return False
