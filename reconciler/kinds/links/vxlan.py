"""A VXLAN: a tunnel in UDP over the underlay (RFC 7348), one for each subnet on a host, with a forwarding database of its own.

It is recognised by its mark (see `marks`). Its number, its port and its own address are fixed when it is made; a change of these
forces a re-creation. Its MAC is given at creation, for udev may rewrite one that the kernel chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from reconciler.kinds.firewall.set_elements import SetElement
from reconciler.kinds.firewall.sets import SetSpec
from reconciler.kinds.identity import element_ref
from reconciler.kinds.links.base import Options
from reconciler.kinds.links.tunnel import Encapsulation, Tunnel
from reconciler.kinds.links.wire import IPV4, IPV6, ON_OFF, PORT, U8, U32, Table, choice
from reconciler.state.ref import HOST, Ref
from reconciler.state.summary import InterfaceFacts, Part, Phrase

USUAL_PORT = 4789
"""The default UDP port of a VXLAN (RFC 7348, section 5)."""

WIRE: Table = {
    "id": (1, U32),
    "remote": (2, IPV4),
    "dev": (3, U32),  # an interface number here; the reader replaces it by a name
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


@dataclass(frozen=True, slots=True)
class VxlanPort(SetElement):
    """The UDP port of a VXLAN."""

    stem = "vxlan_ports"
    key_fields = ("port",)

    port: int

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], _data: Sequence[str]) -> Self:
        (port,) = key
        return cls(int(port))


@dataclass(frozen=True, slots=True)
class VxlanSender(SetElement):
    """The remote end, the local end and the UDP port of a VXLAN."""

    stem, by_family = "vteps", "remote"
    key_fields = ("remote", "local", "port")

    remote: str
    local: str
    port: int

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], _data: Sequence[str]) -> Self:
        remote, local, port = key
        return cls(remote, local, int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan(Tunnel):
    """VNI `vni` to UDP `port`."""

    kind = "vxlan"
    wire = (WIRE, WIRE_IPV6)
    lower_option = "dev"
    fixed = ("vni", "local", "port")
    has_forwarding_table = True
    title = "VXLAN"
    # Inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 or IPv6 40. The underlay's MTU does not count the outer Ethernet.
    overhead_bytes: ClassVar[Mapping[int, int]] = {4: 50, 6: 70}
    encapsulation = Encapsulation(
        protocol="udp",
        port=USUAL_PORT,
        header_bytes=8 + 8,  # UDP, VXLAN
        sets={
            "vxlan_ports": SetSpec(VxlanPort, ("inet_service",)),
            "vteps4": SetSpec(VxlanSender, ("ipv4_addr", "ipv4_addr", "inet_service")),
            "vteps6": SetSpec(VxlanSender, ("ipv6_addr", "ipv6_addr", "inet_service")),
        },
        received=("ip saddr . ip daddr . udp dport @vteps4", "ip6 saddr . ip6 daddr . udp dport @vteps6"),
        sent=("ip daddr . ip saddr . udp dport @vteps4", "ip6 daddr . ip6 saddr . udp dport @vteps6"),
        alike=("udp dport @vxlan_ports",),
    )

    vni: int
    port: int

    @property
    def follows(self) -> tuple[Ref, ...]:
        return (*super(Vxlan, self).follows, element_ref(HOST, "inet", VxlanPort.stem, str(self.port)))

    @property
    def is_usual(self) -> bool:
        return self.port == USUAL_PORT

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
