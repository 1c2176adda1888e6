"""Frames that are to deceive a bridge, its ports or the host, as bytes, by name."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator, Sequence

from tests.harness.packets.frames import (
    ADVERTISE,
    ARP,
    IP4,
    IP6,
    LLDP,
    ROUTER,
    SOLICIT,
    VLAN,
    Node,
    arp,
    ethernet,
    icmp6,
    ip6,
    mac,
    udp4,
)

Frames = dict[str, bytes]
LINK_LOCAL_GROUPS = [f"01:80:c2:00:00:{last:02x}" for last in range(16)]
MULTICAST_SOURCE = "03:00:00:00:00:01"
NO_NEXT, UDP, ICMP, ICMP6, IGMP, PIM = 59, 17, 1, 58, 2, 103
HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
BPDU = bytes.fromhex("4242030000000000") + bytes(31)


def llc(source: str, target: str, payload: bytes) -> bytes:
    """A frame with a length instead of the type (IEEE 802.3)."""
    return mac(target) + mac(source) + struct.pack("!H", len(payload)) + payload


def snap(source: str, target: str, kind: int, payload: bytes) -> bytes:
    """An Ethernet type behind a SNAP header (RFC 1042)."""
    return llc(source, target, bytes.fromhex("aaaa03000000") + struct.pack("!H", kind) + payload)


def payloads(own: Node, other: Node, source: str, target: str) -> Frames:
    """One of each kind of frame, by hardware addresses."""
    advertised = icmp6("fe80::1", ROUTER)
    return {
        "ipv4": ethernet(source, IP4, udp4(own.ip4, other.ip4), target),
        "router advertisement": ethernet(source, IP6, advertised, target),
        "arp": ethernet(source, ARP, arp(source, own.ip4, other.ip4), target),
        "lldp": ethernet(source, LLDP, bytes(46), target),
        "vlan": ethernet(source, VLAN, struct.pack("!HH", 5, IP4) + udp4(own.ip4, other.ip4, 77), target),
        "priority tag": ethernet(source, VLAN, struct.pack("!HH", 0xE000, IP4) + udp4(own.ip4, other.ip4, 78), target),
        "q in q": ethernet(source, 0x88A8, struct.pack("!HHHH", 5, VLAN, 6, IP4) + udp4(own.ip4, other.ip4, 79), target),
        "bpdu": llc(source, target, BPDU),
        "snap arp": snap(source, target, ARP, arp(source, other.ip4, own.ip4, 2)),
        # Open vSwitch reads what is behind a SNAP header as it reads Ethernet; so that of the sender's own would pass.
        "snap ip": snap(source, target, IP4, udp4(other.ip4, own.ip4, 80)),
        "snap ipv6": snap(source, target, IP6, advertised),
        "pause": ethernet(source, 0x8808, b"\0\1\xff\xff" + bytes(42), target),
        "lacp": ethernet(source, 0x8809, b"\1\1" + bytes(44), target),
        "eapol": ethernet(source, 0x888E, bytes(46), target),
        "mpls": ethernet(source, 0x8847, struct.pack("!I", 16 << 12 | 0x1FF) + udp4(own.ip4, other.ip4, 81), target),
        "pppoe": ethernet(source, 0x8863, b"\x11\x09" + bytes(44), target),
        "rarp": ethernet(source, 0x8035, arp(source, own.ip4, other.ip4, 3), target),
        "runt": ethernet(source, IP4, b"\x45", target),
    }


def to_link_local_groups(own: Node, other: Node, sources: Sequence[str]) -> Frames:
    """Every kind of frame to every group of IEEE 802.1Q's table 8-1, from each of the hardware addresses."""
    return {
        f"{kind} to {group} from {source}": frame
        for source, group in itertools.product(sources, LINK_LOCAL_GROUPS)
        for kind, frame in payloads(own, other, source, group).items()
    }


def never(own: Node, other: Node, target: str) -> Frames:
    """Kinds of frames that no container sends, with the sender's own hardware address, straight to another or to all."""
    frames = payloads(own, other, own.mac, target)
    allowed = ("ipv4", "arp")
    return {f"{kind} to {target}": frame for kind, frame in frames.items() if kind not in allowed}


# --- IPv6, behind headers and in pieces -------------------------------------------------------------------------------


def option_header(following: int, length: int = 0) -> bytes:
    """A header of options that are padding (RFC 8200, 4.2): eight bytes, and eight more for each of `length`."""
    size = 4 + 8 * length
    return struct.pack("BBBB", following, length, 1, size) + bytes(size)


def fragment_header(following: int, offset: int, *, more: bool, number: int = 0x1234) -> bytes:
    """RFC 8200, 4.5; the offset in bytes."""
    return struct.pack("!BBHI", following, 0, offset | more, number)


def checked(source: str, target: str, message: bytes) -> bytes:
    """An ICMPv6 message with its checksum (RFC 8200, 8.1)."""
    pseudo = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    text = pseudo + struct.pack("!II", len(message), ICMP6) + message
    total = sum(struct.unpack(f"!{len(text) // 2}H", text))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]


def router_advertisement(source: str, lifetime_s: int = 1800) -> bytes:
    """An ICMPv6 message with a lifetime, a prefix and the sender's hardware address, right in every bit."""
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, "2001:db8:bad::"))
    message = struct.pack("!BBHBBHII", ROUTER, 0, 0, 64, 0, lifetime_s, 0, 0) + prefix
    return checked(source, "ff02::1", message)


def hidden_advertisements(own: Node) -> Frames:
    """A router advertisement behind extension headers and in fragments (RFC 7113)."""
    message = router_advertisement(own.ip6)
    options = option_header(ICMP6)

    def frame(first: int, payload: bytes) -> bytes:
        return ethernet(own.mac, IP6, ip6(own.ip6, "ff02::1", first, payload), "33:33:00:00:00:01")

    def pieces(following: int, text: bytes, cut: int) -> Iterator[tuple[str, bytes]]:
        yield "first", frame(FRAGMENT, fragment_header(following, 0, more=True) + text[:cut])
        yield "last", frame(FRAGMENT, fragment_header(following, cut, more=False) + text[cut:])

    frames = {
        "plain": frame(ICMP6, message),
        "destination options": frame(DESTINATION, options + message),
        "hop by hop": frame(HOP, options + message),
        "both": frame(HOP, option_header(DESTINATION) + options + message),
        "many": frame(DESTINATION, option_header(DESTINATION) * 40 + options + message),
        "routing": frame(ROUTING, struct.pack("BBBB4x", ICMP6, 0, 0, 0) + message),
        "atomic fragment": frame(FRAGMENT, fragment_header(ICMP6, 0, more=False) + message),
        "options cut short": frame(FRAGMENT, fragment_header(DESTINATION, 0, more=True) + option_header(ICMP6, 4)[:8]),
    }
    split = {"fragments": (ICMP6, message, 16), "tiny fragments": (ICMP6, message, 8)}
    split["options in the first"] = (DESTINATION, options + message, 8)
    split["long options over both"] = (DESTINATION, option_header(ICMP6, 3) + message, 16)
    for name, (following, text, cut) in split.items():
        frames |= {f"{name}: {part}": one for part, one in pieces(following, text, cut)}
    return frames


def discovery(kind: int, source: str, target: str, options: bytes) -> bytes:
    """A solicitation or an advertisement with options."""
    head = struct.pack("!BBHI", kind, 0, 0, 0x60000000) + socket.inet_pton(socket.AF_INET6, target)
    return ip6(source, "ff02::1", ICMP6, checked(source, "ff02::1", head + options))


def link_address(option: int, address: str) -> bytes:
    """The option with a hardware address: 1 of the source, 2 of the target (RFC 4861, 4.6.1)."""
    return struct.pack("BB", option, 1) + mac(address)


def poisoned_discovery(own: Node, other: Node) -> Frames:
    """Messages about the sender's own addresses that name another node's hardware address."""
    group = "33:33:00:00:00:01"
    stolen = {name: link_address(option, other.mac) for name, option in (("source", 1), ("target", 2))}
    bodies = {
        "solicitation with another's source": discovery(SOLICIT, own.ip6, other.ip6, stolen["source"]),
        "solicitation with two sources": discovery(SOLICIT, own.ip6, other.ip6, stolen["source"] * 2),
        "solicitation with own and another's": discovery(
            SOLICIT, own.ip6, other.ip6, link_address(1, own.mac) + stolen["source"]
        ),
        "advertisement with another's target": discovery(ADVERTISE, own.ip6, own.ip6, stolen["target"]),
        "advertisement with two targets": discovery(ADVERTISE, own.ip6, own.ip6, stolen["target"] * 2),
        "query of listeners": ip6(own.ip6, "ff02::1", ICMP6, struct.pack("!BBHHH16s", 130, 0, 0, 1000, 0, bytes(16))),
    }
    return {name: ethernet(own.mac, IP6, body, group) for name, body in bodies.items()}


def honest_discovery(own: Node, other: Node) -> Frames:
    """The same messages as every container sends them."""
    bodies = {
        "solicitation": discovery(SOLICIT, own.ip6, other.ip6, link_address(1, own.mac)),
        "solicitation without a source": discovery(SOLICIT, own.ip6, other.ip6, b""),
        "advertisement": discovery(ADVERTISE, own.ip6, own.ip6, link_address(2, own.mac)),
        "advertisement without a target": discovery(ADVERTISE, own.ip6, own.ip6, b""),
    }
    return {name: ethernet(own.mac, IP6, body, "33:33:00:00:00:01") for name, body in bodies.items()}


def with_hops(packet: bytes, hops: int) -> bytes:
    """An IPv6 packet with another hop limit."""
    return packet[:7] + bytes([hops]) + packet[8:]


def hidden(own: Node, target: str, following: int, message: bytes, hops: int) -> Frames:
    """An IPv6 message as it is, behind headers of options, and in a first fragment that has its header, or has not."""
    options = option_header(following)
    bodies = {
        "plain": (following, message),
        "hop by hop": (HOP, options + message),
        "destination options": (DESTINATION, options + message),
        "routing": (ROUTING, struct.pack("BBBB4x", following, 0, 0, 0) + message),
        "first fragment": (FRAGMENT, fragment_header(following, 0, more=True) + message[:8]),
        "atomic fragment": (FRAGMENT, fragment_header(following, 0, more=False) + message),
        "options in a first fragment": (FRAGMENT, fragment_header(DESTINATION, 0, more=True) + options + message[:8]),
        "options alone in a first fragment": (FRAGMENT, fragment_header(DESTINATION, 0, more=True) + options),
        "a fragment in a first fragment": (
            FRAGMENT,
            fragment_header(FRAGMENT, 0, more=True) + fragment_header(following, 0, more=True, number=5),
        ),
    }
    packets = {name: with_hops(ip6(own.ip6, target, *body), hops) for name, body in bodies.items()}
    return {name: ethernet(own.mac, IP6, packet, "33:33:00:00:00:01") for name, packet in packets.items()}


# --- what routers of multicast say ------------------------------------------------------------------------------------


def multicast_routers4(own: Node, other: Node) -> Frames:
    """Greetings of PIM, queries of IGMP and multicast router discovery (RFC 4286), whole and in fragments."""
    query = b"\x11\x64\0\0" + bytes(4)
    messages = {
        "pim": ("224.0.0.13", PIM, b"\x20\0\xdf\xff\0\0\0\0"),
        "pim to another": (other.ip4, PIM, b"\x20\0\xdf\xff\0\0\0\0"),
        "query": ("224.0.0.1", IGMP, query),
        "query of a group": ("239.1.1.1", IGMP, query[:4] + socket.inet_aton("239.1.1.1")),
        "query to another": (other.ip4, IGMP, query),
        "query to all": ("255.255.255.255", IGMP, query),
        "multicast router": ("224.0.0.106", IGMP, b"\x30\x14\0\0" + bytes(4)),
        "question for multicast routers": ("224.0.0.2", IGMP, b"\x31\0\0\0" + bytes(4)),
        "dvmrp": ("224.0.0.4", IGMP, b"\x13\x01\0\0" + bytes(4)),
        "pim of version 1": ("224.0.0.2", IGMP, b"\x14\0\0\0" + bytes(4)),
        "end of a multicast router": ("224.0.0.106", IGMP, b"\x32\0\0\0" + bytes(4)),
    }
    return {
        f"{name}{part}": ethernet(own.mac, IP4, ip4(own.ip4, *message, flags), "01:00:5e:00:00:01")
        for name, message in messages.items()
        for part, flags in (("", 0), (": first", 0x2000), (": last", 1))
    }


def multicast_routers6(own: Node) -> Frames:
    """The same of IPv6, with a hop limit of 1: behind headers and in fragments. And redirects, and a DHCP server's replies."""
    messages = {f"type {kind}": (ICMP6, checked(own.ip6, "ff02::1", struct.pack("!BBHHH16s", kind, 0, 0, 1000, 0, bytes(16))))
                for kind in (130, 134, 137, 151, 152, 153)}  # fmt: skip
    messages["pim"] = (PIM, b"\x20\0\xdf\xff" + bytes(12))
    messages["dhcp"] = (UDP, udp(547, 546))
    messages["dhcp from another port"] = (UDP, udp(1234, 546))
    frames = {name: hidden(own, "ff02::1", *message, 1) for name, message in messages.items()}
    return {f"{name}, {how}": frame for name, those in frames.items() for how, frame in those.items()}


def reports(own: Node) -> Frames:
    """What hosts say of the groups that they listen to: by IGMP's versions 3 and 2, and by IPv6."""
    record = struct.pack("!BBHHH", 0x22, 0, 0, 0, 0)
    return {
        "version 3": ethernet(own.mac, IP4, ip4(own.ip4, "224.0.0.22", IGMP, record), "01:00:5e:00:00:16"),
        "version 2": ethernet(own.mac, IP4, ip4(own.ip4, "239.1.1.1", IGMP, b"\x16\0\0\0\xef\1\1\1"), "01:00:5e:01:01:01"),
        "ipv6": ethernet(own.mac, IP6, icmp6(own.ip6, 143), "33:33:00:00:00:16"),
    }


def tagged(frames: Frames) -> Frames:
    """The same behind a tag of a VLAN, a tag of none, and two tags."""
    tags = {
        "vlan": struct.pack("!HH", VLAN, 5),
        "priority": struct.pack("!HH", VLAN, 0xE000),
        "two": struct.pack("!HHHH", 0x88A8, 5, VLAN, 6),
    }
    return {
        f"{name} behind {word}": frame[:12] + tag + frame[12:] for name, frame in frames.items() for word, tag in tags.items()
    }


# --- IPv4 -------------------------------------------------------------------------------------------------------------


def ip4(source: str, target: str, protocol: int, payload: bytes, flags: int = 0, number: int = 0x77) -> bytes:
    """An IPv4 packet; `flags` are the fragment's offset in units of eight bytes, and 0x2000 for more."""
    ends = socket.inet_aton(source), socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number, flags, 64, protocol, 0, *ends)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + payload


def udp(source_port: int, target_port: int, size: int = 32) -> bytes:
    """A datagram without a checksum."""
    return struct.pack("!HHHH", source_port, target_port, 8 + size, 0) + bytes(size)


def false_servers(own: Node, other: Node) -> Frames:
    """What makes a client take the container for a DHCP server or a router, whole and in a first fragment."""
    broadcast = "255.255.255.255"
    redirect = struct.pack("!BBH4s", 5, 1, 0, socket.inet_aton(own.ip4)) + ip4(other.ip4, "192.0.2.1", UDP, udp(1, 2))
    irdp = struct.pack("!BBHBBH4sI", 9, 0, 0, 1, 2, 1800, socket.inet_aton(own.ip4), 9)
    four = {
        "dhcp from 67": ip4(own.ip4, broadcast, UDP, udp(67, 68)),
        "dhcp from another port": ip4(own.ip4, broadcast, UDP, udp(1234, 68)),
        "dhcp in a first fragment": ip4(own.ip4, broadcast, UDP, udp(67, 68), 0x2000),
        "dhcp in a first fragment from another port": ip4(own.ip4, other.ip4, UDP, udp(1234, 68), 0x2000),
        "icmp redirect": ip4(own.ip4, other.ip4, ICMP, redirect),
        "icmp redirect in a fragment": ip4(own.ip4, other.ip4, ICMP, redirect, 0x2000),
        "icmp router advertisement": ip4(own.ip4, "224.0.0.1", ICMP, irdp),
        "igmp query": ip4(own.ip4, "224.0.0.1", IGMP, b"\x11\x64\0\0" + bytes(4)),
    }
    six = {
        "dhcpv6 from 547": ip6(own.ip6, "ff02::1", UDP, udp(547, 546)),
        "dhcpv6 from another port": ip6(own.ip6, "ff02::1", UDP, udp(1234, 546)),
    }
    text = udp(547, 546)
    pieces = fragment_header(UDP, 0, more=True) + text[:16], fragment_header(UDP, 16, more=False) + text[16:]
    six["dhcpv6 in a first fragment"] = ip6(own.ip6, "ff02::1", FRAGMENT, pieces[0])
    frames = {name: ethernet(own.mac, IP4, packet) for name, packet in four.items()}
    return frames | {name: ethernet(own.mac, IP6, packet, "33:33:00:00:00:01") for name, packet in six.items()}


def false_arp(own: Node, other: Node, gateway: str) -> Frames:
    """ARP that says something about another node."""
    return {
        "gratuitous for another": ethernet(own.mac, ARP, arp(own.mac, other.ip4, other.ip4)),
        "gratuitous for the gateway": ethernet(own.mac, ARP, arp(own.mac, gateway, gateway, 2)),
        "unicast reply for the gateway": ethernet(own.mac, ARP, arp(own.mac, gateway, other.ip4, 2), other.mac),
        "another mac inside": ethernet(own.mac, ARP, arp(other.mac, own.ip4, other.ip4)),
        "another mac outside": ethernet(other.mac, ARP, arp(own.mac, own.ip4, other.ip4)),
        "probe for another's address": ethernet(own.mac, ARP, arp(own.mac, "0.0.0.0", other.ip4)),
        "probe for the gateway's address": ethernet(own.mac, ARP, arp(own.mac, "0.0.0.0", gateway)),
        "of a token ring": ethernet(own.mac, ARP, b"\0\6" + arp(own.mac, own.ip4, other.ip4)[2:]),
        "with long addresses": ethernet(own.mac, ARP, arp(own.mac, own.ip4, other.ip4)[:4] + b"\x08\x04" + bytes(40)),
    }
