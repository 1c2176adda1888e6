"""Packets made by hand, as bytes: Ethernet, IP, UDP, ICMP and fragments, with right checksums where a kernel looks at them."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

ARP, IP4, IP6, LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
BROADCAST = "ff:ff:ff:ff:ff:ff"
UDP, ICMP, ICMP6 = socket.IPPROTO_UDP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
LINK_LOCAL_GROUPS = tuple(f"01:80:c2:00:00:{number:02x}" for number in range(16))
"""Those that a bridge keeps to itself (IEEE 802.1D, table 7-10)."""


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = int(sum(struct.unpack(f"!{len(padded) // 2}H", padded)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def arp_request(sender_mac: str, sender: str, target: str) -> bytes:
    head = struct.pack("!HHBBH", 1, IP4, 6, 4, 1)
    return head + mac(sender_mac) + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)


def ip(source: str, target: str, protocol: int, payload: bytes, *, fragment: int = 0, number: int = 0, ttl: int = 64) -> bytes:
    """A packet of either family; `fragment` is IPv4's field of flags and offset, `number` its identification."""
    packed = ip_address(source).packed + ip_address(target).packed
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), number, fragment, ttl, protocol, 0) + packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def with_checksum(source: str, target: str, protocol: int, data: bytes, place: int) -> bytes:
    """The payload with its checksum over the pseudo header (RFC 768, RFC 8200 section 8.1) at `place`."""
    pseudo = ip_address(source).packed + ip_address(target).packed + struct.pack("!IHBB", len(data), 0, 0, protocol)
    value = checksum(pseudo + data) or 0xFFFF
    return data[:place] + struct.pack("!H", value) + data[place + 2 :]


def udp(source: str, target: str, source_port: int, target_port: int, payload: bytes) -> bytes:
    """A whole IP packet with a UDP datagram."""
    data = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0) + payload
    return ip(source, target, UDP, with_checksum(source, target, UDP, data, 6))


def unreachable(source: str, target: str, about: bytes) -> bytes:
    """An ICMP error from `source`: the host that the packet `about` went to cannot be reached."""
    if ":" in source:
        data = struct.pack("!BBHI", 1, 3, 0, 0) + about
        return ip(source, target, ICMP6, with_checksum(source, target, ICMP6, data, 2))
    data = struct.pack("!BBHI", 3, 1, 0, 0) + about[:48]
    return ip(source, target, ICMP, data[:2] + struct.pack("!H", checksum(data)) + data[4:])


def router_advertisement(source: str, lifetime_s: int = 1800) -> bytes:
    data = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_s, 0, 0)
    return ip(source, "ff02::1", ICMP6, with_checksum(source, "ff02::1", ICMP6, data, 2), ttl=255)
