"""A VXLAN: the port of a subnet's bridge that leads to the subnet's other hosts, in UDP over the underlay (RFC 7348).

It is recognised by its mark (see `marks`). Nothing is learnt from packets and nothing is flooded but true broadcast: who
is where follows from the file, and stands in static entries (see `fdb` and `neighbor`). So learning is off, and the port
answers ARP and neighbor solicitations for the far side from the bridge's neighbor table (`neigh_suppress`).

Its number, its port and its own address are fixed when it is made; a change of these forces a re-creation. Its MAC is given
at creation, for udev may rewrite one that the kernel chose. The outer packet is never fragmented silently: the MTU leaves
room for the overhead, 50 bytes over IPv4 and 70 over IPv6 (outer Ethernet is not counted in the underlay's MTU, the inner
one is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.kinds.identity import element_ref
from reconciler.kinds.links.base import Options
from reconciler.kinds.links.port import QUIET, BridgePort, port_options
from reconciler.kinds.links.wire import IPV4, IPV6, ON_OFF, PORT, U8, U32, Table, choice
from reconciler.state.ref import HOST, Ref
from reconciler.state.summary import InterfaceFacts, Part, Phrase

PORT_OPTIONS = port_options(*QUIET, ("neigh_suppress", "on"))
"""What the bridge is told of this port. `flood` is of unicast frames for somebody unknown; broadcast and multicast do pass."""
OVERHEAD_BYTES = {4: 50, 6: 70}
"""By the underlay's family: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 or IPv6 40."""
USUAL_PORT = 4789
"""The UDP port that a VXLAN has by default (RFC 7348, section 5)."""

WIRE: Table = {
    "id": (1, U32),
    "remote": (2, IPV4),
    "dev": (3, U32),  # an interface number here; the reader puts a name in its place
    "local": (4, IPV4),
    "ttl": (5, U8),
    "tos": (6, U8),
    "learning": (7, ON_OFF),
    "ageing": (8, U32),
    "maxaddress": (9, U32),
    "proxy": (11, ON_OFF),
    "rsc": (12, ON_OFF),
    "l2miss": (13, ON_OFF),
    "l3miss": (14, ON_OFF),
    "dstport": (15, PORT),
    "udpcsum": (18, ON_OFF),
    "udp6zerocsumtx": (19, ON_OFF),
    "udp6zerocsumrx": (20, ON_OFF),
    "df": (29, choice("=B", {"unset": 0, "set": 1, "inherit": 2})),
}
WIRE_IPV6: Table = {"remote": (16, IPV6), "local": (17, IPV6)}
"""The same names, for values with a colon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan(BridgePort):
    """VNI `vni` from the underlay address `local` to UDP `port`.

    If the bridge is Open vSwitch's, `master` is "", and its database says what is a port (`openvswitch`).
    """

    kind = "vxlan"
    wire = (WIRE, WIRE_IPV6)
    lower_option = "dev"
    fixed = ("vni", "local", "port")

    vni: int
    local: str
    port: int
    port_options: Options = PORT_OPTIONS

    @property
    def follows(self) -> tuple[Ref, ...]:
        return (*super(Vxlan, self).follows, element_ref(HOST, "inet", "vxlan_ports", str(self.port)))

    @property
    def is_addressed(self) -> bool:
        return False

    def phrase(self, _facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.LINKS, f"VXLAN {self.vni}")

    def describe(self) -> str:
        return f"vxlan {self.name}, VNI {self.vni} from {self.local} to UDP port {self.port}, MTU {self.mtu}"

    @property
    def wire_options(self) -> Options:
        return (("id", str(self.vni)), ("local", self.local), ("dstport", str(self.port)), ("learning", "off"))

    @classmethod
    def parse_options(cls, options: Mapping[str, str]) -> dict[str, Any]:
        return {
            "vni": int(options.get("id", 0)),
            "local": options.get("local", ""),
            "port": int(options.get("dstport", 0)),
        }
