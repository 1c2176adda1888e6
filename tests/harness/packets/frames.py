"""Frames that a container may send, and such that it may not, as bytes."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

ARP, IP4, IP6, VLAN, LLDP = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88CC
DHCP_SERVER, DHCP6_SERVER = 67, 547
SOLICIT, ADVERTISE, ROUTER, REDIRECT = 135, 136, 134, 137


@dataclass(frozen=True, slots=True)
class Node:
    """A node with a hardware address and one address of each family."""

    mac: str
    ip4: str
    ip6: str


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, kind: int, payload: bytes, target: str = "ff:ff:ff:ff:ff:ff") -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def arp(sender_mac: str, sender_ip: str, target: str, operation: int = 1) -> bytes:
    head = struct.pack("!HHBBH", 1, IP4, 6, 4, operation)
    return head + mac(sender_mac) + socket.inet_aton(sender_ip) + bytes(6) + socket.inet_aton(target) + bytes(18)


def udp4(source: str, target: str, port: int = 1234) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + struct.pack("!HHHH", port, 9, 16, 0) + bytes(18)


def ip6(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + addresses + payload


def icmp6(source: str, kind: int, address: str = "::", *, behind_options: bool = False) -> bytes:
    payload = struct.pack("!BBHI", kind, 0, 0, 0x60000000) + socket.inet_pton(socket.AF_INET6, address)
    if behind_options:  # a destination options header (RFC 8200, 4.6) in front
        return ip6(source, "ff02::1", 60, struct.pack("!BBBB4s", 58, 0, 1, 4, bytes(4)) + payload)
    return ip6(source, "ff02::1", 58, payload)


def good_frames(own: Node, other: Node, *, in_lan: bool = False) -> dict[str, bytes]:
    """What every container sends; reports of listeners in a LAN only."""
    reports = {"multicast report": ethernet(own.mac, IP6, icmp6("::", 143))} if in_lan else {}
    return reports | {
        "arp request": ethernet(own.mac, ARP, arp(own.mac, own.ip4, other.ip4)),
        "arp probe": ethernet(own.mac, ARP, arp(own.mac, "0.0.0.0", own.ip4)),
        "udp": ethernet(own.mac, IP4, udp4(own.ip4, other.ip4)),
        "udp over ipv6": ethernet(own.mac, IP6, ip6(own.ip6, "ff02::1", 17, struct.pack("!HHHH", 1234, 9, 8, 0))),
        "solicitation": ethernet(own.mac, IP6, icmp6(own.ip6, SOLICIT, other.ip6)),
        "duplicate address detection": ethernet(own.mac, IP6, icmp6("::", SOLICIT, own.ip6)),
        "advertisement": ethernet(own.mac, IP6, icmp6(own.ip6, ADVERTISE, own.ip6)),
    }


def bad_frames(own: Node, other: Node) -> dict[str, bytes]:
    """What no container may send."""
    foreign = "02:00:00:00:00:99"
    return {
        "another mac": ethernet(foreign, IP4, udp4(own.ip4, other.ip4)),
        "another's mac": ethernet(other.mac, IP4, udp4(other.ip4, own.ip4)),
        "another's address": ethernet(own.mac, IP4, udp4(other.ip4, own.ip4)),
        "an address of nobody": ethernet(own.mac, IP4, udp4("10.44.0.77", other.ip4)),
        "another's ipv6 address": ethernet(own.mac, IP6, ip6(other.ip6, "ff02::1", 17, struct.pack("!HHHH", 1, 9, 8, 0))),
        "arp for another": ethernet(own.mac, ARP, arp(own.mac, other.ip4, own.ip4, 2)),
        "arp for the gateway": ethernet(own.mac, ARP, arp(own.mac, "10.44.0.1", other.ip4, 2)),
        "arp with another mac inside": ethernet(own.mac, ARP, arp(foreign, own.ip4, other.ip4)),
        "arp probe with another mac inside": ethernet(own.mac, ARP, arp(foreign, "0.0.0.0", own.ip4)),
        "arp reply of nobody": ethernet(own.mac, ARP, arp(own.mac, "0.0.0.0", own.ip4, 2)),
        "advertisement of another": ethernet(own.mac, IP6, icmp6(own.ip6, ADVERTISE, other.ip6)),
        "advertisement behind options": ethernet(own.mac, IP6, icmp6(own.ip6, ADVERTISE, other.ip6, behind_options=True)),
        "duplicate of another": ethernet(own.mac, IP6, icmp6("::", SOLICIT, other.ip6)),
        "router advertisement": ethernet(own.mac, IP6, icmp6(own.ip6, ROUTER)),
        "redirect": ethernet(own.mac, IP6, icmp6(own.ip6, REDIRECT)),
        "dhcp server": ethernet(own.mac, IP4, udp4(own.ip4, "255.255.255.255", DHCP_SERVER)),
        "dhcpv6 server": ethernet(own.mac, IP6, ip6(own.ip6, "ff02::1", 17, struct.pack("!HHHH", DHCP6_SERVER, 546, 8, 0))),
        "a vlan": ethernet(own.mac, VLAN, struct.pack("!HH", 5, IP4) + udp4(own.ip4, other.ip4, 4321)),
        "lldp": ethernet(own.mac, LLDP, bytes(46), "02:ff:ff:ff:ff:01"),
    }
