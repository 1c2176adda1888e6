"""Forged frames, as a container with raw sockets or a neighbour on the segment can send them. Pure: values to bytes, and back.

Four kinds, each of which no filter at one hook is certain to see:

    link-local group      to 01:80:c2:00:00:02 and so on: the kernel gives it to the port's own stack, beside the bridge's hook
    router advertisement  to all nodes, and to these groups: with a lifetime of 0, so that no node uses it as a router
    unknown address       to a hardware address that no one has: a bridge floods it to all ports that do not forbid it
    by its gateway        between two isolated ports, to the gateway's hardware address with the other's IP address

The module also creates a TCP segment or a UDP datagram: to localhost, or in a frame that is not for the host. For these
an answer is sought, for the four kinds the arrival.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from reconciler.probes.packets import checksum, icmp6_packet
from reconciler.probes.spoofing import ALL_NODES, ARP, BROADCAST, ETHERTYPES, HEAD
from reconciler.state.uapi import ETHERTYPE

GROUP: Final = "link-local group"
ADVERTISED: Final = "router advertisement"
STRAY: Final = "unknown address"
DETOUR: Final = "by its gateway"
KINDS = (GROUP, ADVERTISED, STRAY, DETOUR)
TCP, UDP = 6, 17
GROUPS = tuple(b"\x01\x80\xc2\x00\x00" + bytes((last,)) for last in range(2, 16))
"""Frames to these stay on their link (IEEE 802.1Q, table 8-1). The kernel forwards and drops 00 (STP) and 01 (PAUSE)."""
ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
ROUTER_ADVERTISEMENT = 134
EXPERIMENT = 253
"""A neighbor discovery option that every receiver skips (RFC 4727, section 5)."""
SYN, RST = 0x02, 0x04
TOKEN_BYTES = 14
"""With type and length an option of 16 bytes: the length must be a multiple of 8."""
DISCARD = 9


@dataclass(frozen=True, slots=True)
class Connection:
    """Both ends of one connection, as the client sees them: addresses of one family, and ports. `protocol` is TCP or UDP."""

    protocol: int
    own: str
    own_port: int
    address: str
    port: int

    def opening(self, sequence: int) -> bytes:
        """The request: a SYN, or a datagram."""
        if self.protocol == UDP:
            return datagram(self.own, self.own_port, self.address, self.port, b"netctl")
        return self._segment(sequence, SYN)

    def closing(self, sequence: int) -> bytes:
        """A reset, so that no half-open connection is left at the server."""
        return self._segment((sequence + 1) & 0xFFFFFFFF, RST)

    def _segment(self, sequence: int, flags: int) -> bytes:
        body = struct.pack("!HHIIBBHHH", self.own_port, self.port, sequence, 0, 5 << 4, flags, 1024, 0, 0)
        return _ip_packet(self.own, self.address, TCP, body, 16)

    def is_answer(self, packet: bytes) -> bool:
        """Whether an IP packet is from exactly the requested address and port, to the own one. A refusal is an answer, too."""
        asked = ip_address(self.address)
        offset, protocol_offset, head = (12, 9, (packet[0] & 15) * 4) if asked.version == 4 else (8, 6, 40)
        if len(packet) < head + 4 or packet[protocol_offset] != self.protocol:
            return False
        source, ports = packet[offset : offset + len(asked.packed)], packet[head : head + 4]
        return source == asked.packed and ports == struct.pack("!HH", self.port, self.own_port)


def datagram(own: str, own_port: int, address: str, port: int, payload: bytes) -> bytes:
    """A whole IP packet of either family with a UDP datagram in it."""
    return _ip_packet(own, address, UDP, struct.pack("!HHHH", own_port, port, 8 + len(payload), 0) + payload, 6)


def _ip_packet(own: str, address: str, protocol: int, body: bytes, check_offset: int) -> bytes:
    """The header, and the body with its checksum (RFC 791, 8200): `check_offset` is the checksum's offset in the body."""
    source, target = ip_address(own).packed, ip_address(address).packed
    check = checksum(source + target + struct.pack("!II", len(body), protocol) + body) or 0xFFFF
    body = body[:check_offset] + struct.pack("!H", check) + body[check_offset + 2 :]
    if len(source) == 16:
        return struct.pack("!IHBB16s16s", 6 << 28, len(body), protocol, 64, source, target) + body
    fields = (0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol)
    head = struct.pack("!BBHHHBBH4s4s", *fields, 0, source, target)
    return struct.pack("!BBHHHBBH4s4s", *fields, checksum(head), source, target) + body


def advertisement(mac: bytes, token: bytes) -> bytes:
    """A router advertisement that changes nothing at a host that accepts it: no lifetime, no prefix, no parameter."""
    body = struct.pack("!BBHII", 0, 0, 0, 0, 0) + struct.pack("!BB", EXPERIMENT, 2) + token
    return icmp6_packet(link_local_of(mac), ALL_NODES, ROUTER_ADVERTISEMENT, body, 255)


def introduction(mac: bytes, own: str, address: str) -> bytes:
    """A frame with an ARP request for the host's address, from which the host learns the sender's (RFC 826).

    Without it the host would request that hardware address from 127.0.0.1, which the sender's kernel does not answer.
    The answer to a probe would be lost, and an open port look closed.
    """
    body = struct.pack("!H6s4s6s4s", 1, mac, ip_address(own).packed, b"", ip_address(address).packed)
    return BROADCAST + mac + struct.pack("!H", ETHERTYPES[ARP]) + HEAD + body


def link_local_of(mac: bytes) -> str:
    """By modified EUI-64 (RFC 4291, appendix A)."""
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]))


def frame(to: bytes, own: bytes, packet: bytes) -> bytes:
    """An Ethernet frame around an IP packet."""
    return to + own + struct.pack("!H", ETHERTYPE[packet[0] >> 4]) + packet


def mac_bytes(mac: str) -> bytes:
    """Six bytes of `02:…`."""
    return bytes.fromhex(mac.replace(":", ""))
