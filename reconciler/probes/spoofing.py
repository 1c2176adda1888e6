"""Spoofing probes: whether a container can use a foreign address.

Three kinds, each stopped by a rule of its own in the bridge:

    arp            a request with a foreign sender address. The gateway answers any request (RFC 826), to the hardware address
                   of its sender, so the container receives an answer exactly if its request passed the filter
    ndp            the same with IPv6: a packet with another's address as its source, to which the gateway answers (RFC 4861)
    advertisement  from the container's own address, with a foreign one in it. It has no answer, so the host listens on its bridge
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from reconciler.probes.packets import PROTOCOL, icmp6_packet

ARP: Final = "arp"
NDP: Final = "ndp"
ADVERTISEMENT: Final = "advertisement"
ETHERTYPES = {ARP: 0x0806, NDP: 0x86DD, ADVERTISEMENT: 0x86DD}
BROADCAST = b"\xff" * 6
HEAD = struct.pack("!HHBB", 1, 0x0800, 6, 4)
"""Ethernet and IPv4, with the lengths of their addresses."""
SOLICIT, ADVERTISE = 135, 136
SOURCE_MAC, TARGET_MAC = 1, 2
"""Options of neighbor discovery (RFC 4861, section 4.6.1)."""
OVERRIDE = 0x20000000
ALL_NODES = "ff02::1"
HOP_LIMIT = 255
"""Receivers reject others (RFC 4861, section 7.1)."""


def open_below(interface: str, kind: str) -> socket.socket:
    """A packet socket on one interface of the calling thread's namespace. OSError if there is no such interface."""
    ethertype = ETHERTYPES[kind]
    below = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ethertype))
    try:
        below.bind((interface, ethertype))
    except OSError:
        below.close()
        raise
    return below


def send_claim(below: socket.socket, kind: str, claim: str, target: str, own: str = "") -> None:
    """Send a request to the target, or an advertisement to all nodes, that `claim` is at the own hardware address.

    `own` is the sender's own address.
    """
    interface, _, _, _, mac = below.getsockname()
    if kind == ARP:
        body = struct.pack("!H6s4s6s4s", 1, mac, IPv4Address(claim).packed, b"", IPv4Address(target).packed)
        packet, to = HEAD + body, BROADCAST
    elif kind == NDP:
        group = IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + IPv6Address(target).packed[13:])
        packet = _neighbor_packet(claim, str(group), SOLICIT, 0, target, SOURCE_MAC, mac)
        to = _multicast_mac(str(group))
    else:
        packet = _neighbor_packet(own, ALL_NODES, ADVERTISE, OVERRIDE, claim, TARGET_MAC, mac)
        to = _multicast_mac(ALL_NODES)
    below.sendto(packet, (interface, ETHERTYPES[kind], 0, 0, to))


def is_heard(data: bytes, kind: str, claim: str, target: str) -> bool:
    """Whether this is the target's reply to the claimed address; of an advertisement, whether it has arrived."""
    if kind == ARP:
        if len(data) < 28 or data[:6] != HEAD:
            return False
        operation, _, sender, _, asked = struct.unpack("!H6s4s6s4s", data[6:28])
        return bool(operation == 2 and sender == IPv4Address(target).packed and asked == IPv4Address(claim).packed)
    if len(data) < 64 or data[6] != PROTOCOL[6] or data[40] != ADVERTISE:
        return False
    about, to = data[48:64], data[24:40]
    if kind == ADVERTISEMENT:
        return about == IPv6Address(claim).packed
    return about == IPv6Address(target).packed and to == IPv6Address(claim).packed


def _neighbor_packet(source: str, to: str, kind: int, flags: int, about: str, option: int, mac: bytes) -> bytes:
    body = struct.pack("!I16sBB6s", flags, IPv6Address(about).packed, option, 1, mac)
    return icmp6_packet(source, to, kind, body, HOP_LIMIT)


def _multicast_mac(group: str) -> bytes:
    """RFC 2464, section 7."""
    return b"\x33\x33" + IPv6Address(group).packed[12:]
