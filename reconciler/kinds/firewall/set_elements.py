"""What the elements of nftables' sets and maps say: one type for each shape, with a field for each part.

An element has the parts of a key, and in a map those of a value. `kinds.firewall.program` names the type of each set, and turns
values of these types into the text of nft(8) and back. Ports and policies are in `kinds.firewall.traffic_elements`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from reconciler.kinds.firewall.port_blocks import BLOCKS_BY_CHAIN

ProtocolPurpose = Literal["to_tunnel", "to_uplink", "to_bridge"]

GOTO = "goto "
DESCRIPTION = "firewall of {}"


def family_of(block: str) -> int:
    """4 or 6, of an address, a CIDR or a range of addresses."""
    return 6 if ":" in block else 4


@dataclass(frozen=True, slots=True)
class SetElement:
    """One element of a set or map. What is said here holds for sets with one type of element each, named in `stem`."""

    stem: ClassVar[str]
    """The name of the set; if `by_family` is a field, without the digit of that one's family."""
    by_family: ClassVar[str] = ""
    key_fields: ClassVar[tuple[str, ...]]
    data_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def set(self) -> str:
        """The name of its set."""
        return f"{self.stem}{family_of(getattr(self, self.by_family))}" if self.by_family else self.stem

    @property
    def key(self) -> tuple[str, ...]:
        """The parts of its key."""
        return tuple([str(getattr(self, name)) for name in self.key_fields])

    @property
    def data(self) -> tuple[str, ...]:
        """The parts of its value; empty in a set."""
        return tuple([str(getattr(self, name)) for name in self.data_fields])

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], data: Sequence[str]) -> Self:
        """The element of the set of that name that has these parts, which are in the grammar of the set."""
        return cls(*key, *data)

    @property
    def owner(self) -> str:
        """The link, address or hardware address by whose holder it is known whose the element is."""
        return self.key[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Its parts, the value's first: links and addresses among them may say whose it is."""
        return (*self.data, *self.key)

    @property
    def forwarded_to(self) -> str:
        """The address of a container, maybe on another host, to which a published port leads; "" if it is about none."""
        return ""

    def describe(self) -> str:
        """For people: what it says."""
        return DESCRIPTION.format(self.key[0])


# --- sets of one shape ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PurposeElement(SetElement):
    """An element whose shape several sets have. `purpose` is the set's name, less the digit of `by_family`."""

    descriptions: ClassVar[Mapping[str, str]] = {}
    """What the elements say of the last part of the key and its first, by purpose."""

    purpose: str

    @property
    def set(self) -> str:
        return f"{self.purpose}{family_of(getattr(self, self.by_family))}" if self.by_family else self.purpose

    @classmethod
    def from_parts(cls, set_name: str, key: Sequence[str], data: Sequence[str]) -> Self:
        return cls(set_name[:-1] if cls.by_family else set_name, *key, *data)

    def describe(self) -> str:
        key = self.key
        return self.descriptions.get(self.purpose, DESCRIPTION).format(key[0], key[-1])


@dataclass(frozen=True, slots=True)
class LinkElement(PurposeElement):
    """A link of the host: a bridge, a port of a bridge, an uplink."""

    descriptions: ClassVar = {"uplinks": "{} leads to the outside", "isolated_ports": "port {} is isolated"}
    key_fields = ("link",)

    purpose: Literal[
        "bridges", "nat_bridges", "routed_bridges", "switched", "uplinks",
        "dhcp_clients", "dhcp_servers", "routers", "lan_ports", "isolated_ports",
    ]  # fmt: skip
    link: str


@dataclass(frozen=True, slots=True)
class BlockElement(PurposeElement):
    """An address, a CIDR or a range of addresses."""

    descriptions: ClassVar = {
        "gateways": "{} reports errors about connections that it routes",
        "isolated": "{} is isolated",
        "members": "the fast path from other hosts to {}",
    }
    by_family = "block"
    key_fields = ("block",)

    purpose: Literal["own", "local", "guarded", "natted", "peers", "gateways", "isolated", "members"]
    block: str


@dataclass(frozen=True, slots=True)
class MacElement(PurposeElement):
    """A hardware address."""

    descriptions: ClassVar = {
        "isolated_macs": "MAC address {} is isolated",
        "behind": "the fast path to {}",
        "members": "the fast path from other hosts to {}",
    }
    key_fields = ("mac",)

    purpose: Literal["isolated_macs", "behind", "members", "gateway"]
    mac: str


@dataclass(frozen=True, slots=True)
class SenderAddress(PurposeElement):
    """A link, and the hardware address and address that a sender may have there."""

    descriptions: ClassVar = {"addresses": "address {1} may be used on {0}"}
    by_family = "address"
    key_fields = ("link", "mac", "address")

    purpose: Literal["addresses", "leases", "neighbours"]
    link: str
    mac: str
    address: str


@dataclass(frozen=True, slots=True)
class ProtocolLink(PurposeElement):
    """The link to send packets of a protocol to: its name; where it was read, its number."""

    key_fields, data_fields = ("protocol",), ("link",)

    purpose: ProtocolPurpose
    protocol: str
    link: str


# --- bridges and their ports ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BridgePair(SetElement):
    """Two bridges between which packets pass other programs' filters: in all elements of netctl's, one and the same."""

    stem = "same_bridge"
    key_fields = ("source", "target")

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class GotoElement(SetElement):
    """An element with a chain of its table's for what has its key."""

    key_fields = ("matched",)

    matched: str
    chain: str

    @property
    def data(self) -> tuple[str, ...]:
        return (GOTO + self.chain,)

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], data: Sequence[str]) -> Self:
        return cls(*key, *(part.removeprefix(GOTO) for part in data))


class PortFilter(GotoElement):
    """A container's port, and the chain for what comes in there."""

    __slots__ = ()
    stem = "ports"

    def describe(self) -> str:
        return f"the filter of {self.matched}"


class SourcePorts(GotoElement):
    """A range of the source ports of masqueraded connections, and the chain that chooses their new ones."""

    __slots__ = ()
    stem = "source_ports"

    @property
    def ports(self) -> tuple[int, int]:
        """The range as numbers."""
        first, _, last = self.matched.partition("-")
        return int(first), int(last or first)

    def describe(self) -> str:
        block = BLOCKS_BY_CHAIN.get(self.chain)
        return f"connections from port {self.matched} get a source port of {block or self.chain}"


@dataclass(frozen=True, slots=True)
class PortMac(SetElement):
    """A container's port, and the hardware address that may be used there."""

    stem = "macs"
    key_fields = ("port", "mac")

    port: str
    mac: str

    def describe(self) -> str:
        return f"MAC address {self.mac} may be used on {self.port}"


@dataclass(frozen=True, slots=True)
class ForwardedPrefix(SetElement):
    """A router's port and hardware address, the prefix behind it, and the address that has a route to it."""

    stem, by_family = "forwarded", "prefix"
    key_fields = ("port", "mac", "prefix", "target")

    port: str
    mac: str
    prefix: str
    target: str


@dataclass(frozen=True, slots=True)
class IsolatedPrefix(SetElement):
    """A port, and a prefix in which it reaches no isolated address."""

    stem, by_family = "isolated_ports", "prefix"
    key_fields = ("port", "prefix")

    port: str
    prefix: str

    def describe(self) -> str:
        return f"{self.port} reaches no isolated address of {self.prefix}"


# --- connections ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectionLimit(SetElement):
    """How many connections a container may have, by its bridge and its hardware address there."""

    stem = "connections"
    key_fields, data_fields = ("bridge", "mac"), ("limit",)

    bridge: str
    mac: str
    limit: int

    @classmethod
    def from_parts(cls, _set_name: str, key: Sequence[str], data: Sequence[str]) -> Self:
        (bridge, mac), (limit,) = key, data
        return cls(bridge, mac, int(limit))

    @property
    def owner(self) -> str:
        return self.mac

    @property
    def names(self) -> tuple[str, ...]:
        return self.mac, self.bridge

    def describe(self) -> str:
        return f"at most {self.limit} connections of {self.mac} through {self.bridge}"


@dataclass(frozen=True, slots=True)
class EndpointPair(SetElement):
    """Two addresses of one container's: nft(8) cannot compare two addresses of a packet, but it looks both up together."""

    stem, by_family = "endpoints", "source"
    key_fields = ("source", "target")

    source: str
    target: str

    def describe(self) -> str:
        return f"{self.source} reports errors about its own connections only"


@dataclass(frozen=True, slots=True)
class ReturnAddress(SetElement):
    """A container elsewhere with a port that is published here, and the address of this host that it answers to."""

    stem, by_family = "returns", "target"
    key_fields, data_fields = ("target",), ("gateway",)

    target: str
    gateway: str

    @property
    def forwarded_to(self) -> str:
        return self.target


@dataclass(frozen=True, slots=True)
class LanClients(SetElement):
    """A published container on a LAN, and the clients that it would answer there, past its host."""

    stem, by_family = "lan_clients", "target"
    key_fields = ("target", "clients")

    target: str
    clients: str


# --- other hosts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NextHop(SetElement):
    """A container elsewhere, and the address of its host in the underlay."""

    stem, by_family = "hops", "address"
    key_fields, data_fields = ("address",), ("hop",)

    address: str
    hop: str

    def describe(self) -> str:
        return f"the fast path to {self.address} by {self.hop}"


@dataclass(frozen=True, slots=True)
class RemoteSender(SetElement):
    """The hardware address of another host's uplink, and the address of a container there."""

    stem, by_family = "neighbours", "address"
    key_fields = ("mac", "address")

    mac: str
    address: str
