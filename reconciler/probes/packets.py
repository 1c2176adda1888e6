"""ICMP echo packets, encoded and parsed (RFC 792, RFC 4443), and the IP headers around them. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
ERRORS = {4: (3, 11), 6: (1, 2, 3)}
"""Destination unreachable, time exceeded; for IPv6 also packet too big."""
HEADER_BYTES = {4: 20, 6: 40}
ICMP_BYTES = 8
PROTOCOL = {4: 1, 6: 58}
UNREACHABLE = {
    4: {0: "network unreachable", 1: "host unreachable", 3: "port unreachable", 4: "packet too big", 13: "prohibited"},
    6: {0: "no route", 1: "prohibited", 3: "address unreachable", 4: "port unreachable"},
}


@dataclass(frozen=True, slots=True)
class Echo:
    """An answer to an echo request of netctl's, or an error about it, described in `error`."""

    source: str
    identifier: int
    sequence: int
    error: str = ""


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(family: int, identifier: int, sequence: int, packet_bytes: int = 0) -> bytes:
    """An echo request without IP header; the whole packet will have `packet_bytes`. The kernel fills in ICMPv6's checksum."""
    payload = b"netctl".ljust(max(16, packet_bytes - HEADER_BYTES[family] - ICMP_BYTES), b".")
    body = struct.pack("!HH", identifier, sequence) + payload
    return _icmp(ECHO_REQUEST[family], body, checksum(_icmp(ECHO_REQUEST[family], body, 0)) if family == 4 else 0)


def _icmp(kind: int, body: bytes, check: int) -> bytes:
    return struct.pack("!BBH", kind, 0, check) + body


def echo_packet(source: str, target: str, identifier: int, sequence: int) -> bytes:
    """A whole IP packet with an echo request, for a packet socket."""
    from_, to = ip_address(source).packed, ip_address(target).packed
    if len(to) == 4:
        request = echo_request(4, identifier, sequence)
        fields = (0x45, 0, 20 + len(request), 0, 0x4000, 64, 1)
        head = struct.pack("!BBHHHBBH4s4s", *fields, 0, from_, to)
        return struct.pack("!BBHHHBBH4s4s", *fields, checksum(head), from_, to) + request
    return icmp6_packet(source, target, ECHO_REQUEST[6], echo_request(6, identifier, sequence)[4:])


def icmp6_packet(source: str, target: str, kind: int, body: bytes, hop_limit: int = 64) -> bytes:
    """A whole IPv6 packet with an ICMPv6 message; the body is what follows its checksum."""
    from_, to = ip_address(source).packed, ip_address(target).packed
    bare = _icmp(kind, body, 0)
    check = checksum(from_ + to + struct.pack("!II", len(bare), 58) + bare)  # with the pseudo-header of RFC 8200
    return struct.pack("!IHBB16s16s", 6 << 28, len(bare), 58, hop_limit, from_, to) + _icmp(kind, body, check)


def icmp6_filter(*kinds: int) -> bytes:
    """The value of ICMP6_FILTER (RFC 3542, section 3.2) that passes messages of these kinds only."""
    blocked = [0xFFFFFFFF] * 8
    for kind in kinds:
        blocked[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
    return struct.pack("@8I", *blocked)


def parse_icmp(family: int, data: bytes, source: str) -> Echo | None:
    """The part about an echo request of netctl's in an ICMP message from `source`; None if it concerns another packet."""
    if len(data) < ICMP_BYTES:
        return None
    kind, code = data[0], data[1]
    if kind == ECHO_REPLY[family]:
        identifier, sequence = struct.unpack_from("!HH", data, 4)
        return Echo(source, identifier, sequence)
    if kind not in ERRORS[family]:
        return None
    inner = data[ICMP_BYTES:]
    head = (inner[0] & 15) * 4 if family == 4 and inner else HEADER_BYTES[family]
    if len(inner) < head + ICMP_BYTES or inner[head] != ECHO_REQUEST[family]:
        return None
    identifier, sequence = struct.unpack_from("!HH", inner, head + 4)
    return Echo(source, identifier, sequence, _error_name(family, kind, code))


def _error_name(family: int, kind: int, code: int) -> str:
    if kind == ERRORS[family][0]:
        return UNREACHABLE[family].get(code, f"unreachable (code {code})")
    return "packet too big" if (family, kind) == (6, 2) else "time exceeded"


def parse_ip(data: bytes) -> tuple[int, str, bytes]:
    """Family, source address and ICMP message of an IP packet; family 0 if it contains no ICMP."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20 and data[9] == PROTOCOL[4]:
        return 4, str(ip_address(data[12:16])), data[(data[0] & 15) * 4 :]
    if version == 6 and len(data) >= 40 and data[6] == PROTOCOL[6]:
        return 6, str(ip_address(data[8:24])), data[40:]
    return 0, "", b""
