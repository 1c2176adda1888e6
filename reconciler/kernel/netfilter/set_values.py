"""Keys and values of nftables' sets as text: what the parts of a concatenation are, and how each reads.

A dump has bytes and the number of a type; a record has `tcp . 8080`. The text is that of `kinds.firewall.element_text`, so that
what was written reads back the same.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from reconciler.kernel.netlink.rtnetlink import parse_attributes
from reconciler.kinds.firewall.element_text import format_range
from reconciler.kinds.firewall.program import CONCATENATION

VERDICT_CODE, VERDICT_CHAIN, NFT_GOTO = 1, 2, -4
DATA_VERDICT = 0xFFFFFF00  # NFT_DATA_VERDICT: the type of a map's data that are verdicts


def text_of_name(raw: bytes) -> str:
    """A name of the kernel, which ends with NUL bytes."""
    return raw.rstrip(b"\0").decode("utf-8", "replace")


def _ipv6(raw: bytes) -> str:
    return str(IPv6Address(raw))  # inet_ntop(3) writes some addresses differently


def _bits(raw: bytes) -> str:
    """Bits of a payload: so many are an IPv6 address; others are in no set of netctl's."""
    return _ipv6(raw) if len(raw) == 16 else f"0x{raw.hex()}"


def _protocol(raw: bytes) -> str:
    return {6: "tcp", 17: "udp", 132: "sctp"}.get(raw[0], str(raw[0]))


PART_TYPES: dict[int, tuple[str, int, Callable[[bytes], str]]] = {
    4: ("ipv6_addr", 16, _bits),  # integer, see addresses6
    7: ("ipv4_addr", 4, socket.inet_ntoa),
    8: ("ipv6_addr", 16, _ipv6),
    9: ("ether_addr", 6, lambda raw: raw.hex(":")),
    12: ("inet_proto", 1, _protocol),
    10: ("ether_type", 2, lambda raw: {0x0800: "ip", 0x86DD: "ip6"}.get(int.from_bytes(raw), raw.hex())),
    13: ("inet_service", 2, lambda raw: str(int.from_bytes(raw))),
    20: ("iface_index", 4, lambda raw: str(int.from_bytes(raw, sys.byteorder))),
    41: ("ifname", 16, text_of_name),
}
"""By nft's number of a type: its name, its bytes, its text. Any other is shown in hexadecimal, and so is none of ours."""

RANGES = ("ipv4_addr", "ipv6_addr", "inet_service")


@dataclass(frozen=True, slots=True)
class ElementPart:
    """One part of a key or of a value: where it stands, and how it reads."""

    kind: str
    offset: int
    size: int
    text: Callable[[bytes], str]

    def format(self, first: bytes, last: bytes) -> str:
        """Its text; a range if the parts of both ends differ."""
        low, high = first[self.offset : self.offset + self.size], last[self.offset : self.offset + self.size]
        if low == high or self.kind not in RANGES:
            return self.text(low)
        return format_range(self.kind, int.from_bytes(low), int.from_bytes(high))


def format_single(parts: tuple[ElementPart, ...], values: list[bytes]) -> list[str]:
    """Many keys or values without ranges. Their parts repeat, so each is turned into text once."""
    slots = [(lru_cache(1 << 16)(part.text), slice(part.offset, part.offset + part.size)) for part in parts]
    return [CONCATENATION.join([text(value[place]) for text, place in slots]) for value in values]


def parts_of(type_number: int, total_bytes: int) -> tuple[ElementPart, ...]:
    """The parts of a type: a concatenation holds one number in each six bits, the last part lowest; parts are 4-aligned."""
    if type_number == DATA_VERDICT:
        return VERDICT
    numbers: list[int] = []
    while type_number:
        numbers.insert(0, type_number & 0x3F)
        type_number >>= 6
    parts: list[ElementPart] = []
    offset = 0
    for number in numbers:
        kind, size, text = PART_TYPES.get(number, ("", total_bytes, lambda raw: f"0x{raw.hex()}"))
        parts.append(ElementPart(kind, offset, size, text))
        offset += (size + 3) & ~3
    return tuple(parts)


def _verdict(raw: bytes) -> str:
    """`goto NAME`, which has the code -4 (NFT_GOTO in linux/netfilter/nf_tables.h); hexadecimal for any other verdict."""
    found = dict(parse_attributes(memoryview(raw)))
    if VERDICT_CHAIN not in found or int.from_bytes(found[VERDICT_CODE], signed=True) != NFT_GOTO:
        return f"0x{raw.hex()}"
    return f"goto {text_of_name(bytes(found[VERDICT_CHAIN]))}"


LIMIT = (ElementPart("count", 0, 4, lambda raw: str(int.from_bytes(raw))),)
VERDICT = (ElementPart("verdict", 0, 1 << 16, _verdict),)
