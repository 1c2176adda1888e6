"""How options of links stand in netlink messages: iproute2's names and spelling on one side, bytes on the other.

A kind has a table of its options (`Link.wire`), which serves both ways: what is written reads back under the same name and in
the same spelling. The numbers of the attributes are from linux/if_link.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class AttributeCodec:
    """How a value is written: text to bytes and back. `size` in bytes; another size is not this kind of value."""

    size: int
    encode: Callable[[str], bytes]
    decode: Callable[[bytes], str]


Table = Mapping[str, tuple[int, AttributeCodec]]
"""By the option's name: the number of its attribute, and how its value is written."""


def _number(form: str) -> AttributeCodec:
    packed = struct.Struct(form)
    return AttributeCodec(packed.size, lambda text: packed.pack(int(text)), lambda data: str(packed.unpack(data)[0]))


def choice(form: str, names: Mapping[str, int]) -> AttributeCodec:
    """A value that has names; a number without a name stays a number."""
    packed = struct.Struct(form)
    by_number = {number: name for name, number in names.items()}

    def encode(text: str) -> bytes:
        return packed.pack(names[text] if text in names else int(text))

    def decode(data: bytes) -> str:
        number = packed.unpack(data)[0]
        return by_number.get(number, str(number))

    return AttributeCodec(packed.size, encode, decode)


def _address(family: type[IPv4Address | IPv6Address], size: int) -> AttributeCodec:
    return AttributeCodec(size, lambda text: family(text).packed, lambda data: str(family(data)))


def _bits(form: str) -> AttributeCodec:
    """A number in hexadecimal."""
    packed = struct.Struct(form)
    return AttributeCodec(packed.size, lambda text: packed.pack(int(text, 16)), lambda data: f"{packed.unpack(data)[0]:#x}")


U8, U16, U32, PORT = _number("=B"), _number("=H"), _number("=I"), _number("!H")
BITS16 = _bits("=H")
ON_OFF = choice("=B", {"off": 0, "on": 1})
IPV4, IPV6 = _address(IPv4Address, 4), _address(IPv6Address, 16)
