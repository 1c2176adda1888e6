"""Options of bridges, bridge ports, VXLANs and macvlans: iproute2's names on one side, netlink attributes on the other.

One table per kind serves both ways, so that what is written reads back under the same name and in the same spelling.
Used by `netlink_encode` and `netlink_dump`. Numbers are from linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from reconciler.kernel.netlink import attribute, find_attributes

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OptionCodec:
    """How a value is written: text to bytes and back. `size` in bytes; another size is not this kind of value."""

    size: int
    encode: Callable[[str], bytes]
    decode: Callable[[bytes], str]


def _number(form: str) -> OptionCodec:
    packed = struct.Struct(form)
    return OptionCodec(packed.size, lambda text: packed.pack(int(text)), lambda data: str(packed.unpack(data)[0]))


def _choice(form: str, names: Mapping[str, int]) -> OptionCodec:
    """A value that has names; a number without a name stays a number."""
    packed = struct.Struct(form)
    by_number = {number: name for name, number in names.items()}

    def encode(text: str) -> bytes:
        return packed.pack(names[text] if text in names else int(text))

    def decode(data: bytes) -> str:
        number = packed.unpack(data)[0]
        return by_number.get(number, str(number))

    return OptionCodec(packed.size, encode, decode)


def _address(family: socket.AddressFamily, size: int) -> OptionCodec:
    return OptionCodec(size, lambda text: socket.inet_pton(family, text), lambda data: socket.inet_ntop(family, data))


def _bits(form: str) -> OptionCodec:
    """A number in hexadecimal."""
    packed = struct.Struct(form)
    return OptionCodec(packed.size, lambda text: packed.pack(int(text, 16)), lambda data: f"{packed.unpack(data)[0]:#x}")


U8, U16, U32, PORT = _number("=B"), _number("=H"), _number("=I"), _number("!H")
BITS16 = _bits("=H")
ON_OFF = _choice("=B", {"off": 0, "on": 1})
IPV4, IPV6 = _address(socket.AF_INET, 4), _address(socket.AF_INET6, 16)

BRIDGE: dict[str, tuple[int, OptionCodec]] = {
    "forward_delay": (1, U32),  # hundredths of a second, as all times of a bridge
    "hello_time": (2, U32),
    "max_age": (3, U32),
    "ageing_time": (4, U32),
    "stp_state": (5, U32),
    "priority": (6, U16),
    "vlan_filtering": (7, U8),
    "group_fwd_mask": (9, U16),
    "mcast_router": (22, U8),
    "mcast_snooping": (23, U8),
    "mcast_querier": (25, U8),
    "nf_call_iptables": (36, U8),
    "nf_call_ip6tables": (37, U8),
    "nf_call_arptables": (38, U8),
}

BRIDGE_PORT: dict[str, tuple[int, OptionCodec]] = {
    "state": (1, _choice("=B", {"disabled": 0, "listening": 1, "learning": 2, "forwarding": 3, "blocking": 4})),
    "cost": (3, U32),
    "hairpin": (4, ON_OFF),
    "guard": (5, ON_OFF),
    "root_block": (6, ON_OFF),
    "fastleave": (7, ON_OFF),
    "learning": (8, ON_OFF),
    "flood": (9, ON_OFF),
    "mcast_flood": (27, ON_OFF),
    "mcast_to_unicast": (28, ON_OFF),
    "bcast_flood": (30, ON_OFF),
    "group_fwd_mask": (31, BITS16),
    "neigh_suppress": (32, ON_OFF),
    "isolated": (33, ON_OFF),
    "locked": (39, ON_OFF),
}

VXLAN: dict[str, tuple[int, OptionCodec]] = {
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
    "df": (29, _choice("=B", {"unset": 0, "set": 1, "inherit": 2})),
}
VXLAN_IPV6: dict[str, tuple[int, OptionCodec]] = {"remote": (16, IPV6), "local": (17, IPV6)}
"""The same names, for values with a colon."""
VXLAN_DEVICE = 3  # IFLA_VXLAN_LINK

MACVLAN: dict[str, tuple[int, OptionCodec]] = {
    "mode": (1, _choice("=I", {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16})),
}

BY_KIND: dict[str, tuple[dict[str, tuple[int, OptionCodec]], ...]] = {
    "bridge": (BRIDGE,),
    "vxlan": (VXLAN, VXLAN_IPV6),
    "macvlan": (MACVLAN,),
}
PORT_TABLES = (BRIDGE_PORT,)
LOWER_DEVICE = {"vxlan": "dev", "macvlan": "link"}
"""The option that names the link below, which is an interface number in netlink."""

_NAMES = {
    id(tables): {number: (name, codec) for table in tables for name, (number, codec) in table.items()}
    for tables in (*BY_KIND.values(), PORT_TABLES)
}


def encode_options(tables: tuple[dict[str, tuple[int, OptionCodec]], ...], options: Options) -> bytes:
    """The attributes of all options. ValueError for a name that the tables lack, or a value that does not fit."""
    return b"".join(_encode_option(tables, name, value) for name, value in options)


def _encode_option(tables: Iterable[dict[str, tuple[int, OptionCodec]]], name: str, value: str) -> bytes:
    tried = False
    for table in tables:
        if name in table:
            number, codec = table[name]
            tried = True
            try:
                return attribute(number, codec.encode(value))
            except (OSError, ValueError, struct.error):
                continue  # an IPv6 address in the table of IPv4
    raise ValueError(f"{name} cannot be {value!r}" if tried else f"there is no option called {name}")


def parse_options(tables: tuple[dict[str, tuple[int, OptionCodec]], ...], data: memoryview) -> Options:
    """The options that the tables know, sorted by name; a value of another size than it should have is left out."""
    names = _NAMES[id(tables)]
    found = [(names[number], value) for number, value in find_attributes(data, 0, names).items()]
    return tuple(sorted((name, codec.decode(bytes(value))) for (name, codec), value in found if len(value) == codec.size))
