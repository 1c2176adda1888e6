"""Announcements to all nodes of a link: the current hardware address of an IP address.

A neighbor keeps a learnt hardware address for half a minute and more (neighbour(7)), and sends there until it gets no answer.
So an interface with a new address announces it, and a bridge announces those of other hosts. For IPv4 that is a gratuitous
ARP (RFC 5227, section 3), for IPv6 an unsolicited neighbor advertisement (RFC 4861, section 7.2.6). Both correct existing
entries, and create none. The port of a tunnel forwards neither if its bridge answers ARP itself (br_do_proxy_suppress_arp in
net/bridge/br_arp_nd_proxy.c). An announcement takes 5 µs.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address

from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.uplink.arp import BROADCAST, ETH_P_ARP
from reconciler.state.steps.addresses import Announce
from reconciler.state.steps.step import StepError

ETH_P_IPV6 = 0x86DD
ALL_NODES = ip_address("ff02::1").packed
ALL_NODES_MAC = bytes.fromhex("333300000001")
NEIGHBOR_ADVERTISEMENT, OVERRIDE = 136, 0x20000000
ICMPV6 = 58


def run_announcements(namespaces: Namespaces, steps: Sequence[Announce]) -> None:
    """Send all of them. StepError if a link does not exist; one that is down has no nodes."""
    for netns in dict.fromkeys(step.netns for step in steps):
        sender = namespaces.run(netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        try:
            for step in steps:
                if step.netns == netns:
                    _send(sender, step)
        finally:
            sender.close()


def _send(sender: socket.socket, step: Announce) -> None:
    try:
        sender.bind((step.dev, 0))
        mac: bytes = bytes.fromhex(step.mac.replace(":", "")) if step.mac else sender.getsockname()[4]
        make = unsolicited_advertisement if ":" in step.address else gratuitous_arp
        sender.send(make(mac, step.address))
    except OSError as error:
        if error.errno != errno.ENETDOWN:
            raise StepError(step, f"cannot announce {step.address} on {step.dev}: {error.strerror}") from error


def gratuitous_arp(mac: bytes, address: str) -> bytes:
    """A whole frame: a request by `address` for itself."""
    packed = ip_address(address).packed
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, packed, bytes(6), packed)
    return BROADCAST + mac + struct.pack("!H", ETH_P_ARP) + arp


def unsolicited_advertisement(mac: bytes, address: str) -> bytes:
    """A whole frame, from the announced address to all nodes of the link."""
    packed = ip_address(address).packed
    body = struct.pack("!I16sBB6s", OVERRIDE, packed, 2, 1, mac)  # option 2: the target's link-layer address, 8 bytes long
    unsummed = bytes((NEIGHBOR_ADVERTISEMENT, 0, 0, 0)) + body
    pseudo = packed + ALL_NODES + struct.pack("!IxxxB", len(unsummed), ICMPV6) + unsummed
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    icmp = struct.pack("!BBH", NEIGHBOR_ADVERTISEMENT, 0, ~total & 0xFFFF) + body
    header = struct.pack("!IHBB", 0x60000000, len(icmp), ICMPV6, 255)  # a hop limit of 255 proves that it was not routed
    return ALL_NODES_MAC + mac + struct.pack("!H", ETH_P_IPV6) + header + packed + ALL_NODES + icmp
