"""ARP requests in the name of another: whether a container could use an address that is not its own. Called by `probes.clients`.

The gateway answers whoever asks it (RFC 826), to the hardware address that the request came from. So the container hears an
answer exactly where its request got past the filter in the bridge, and no second place has to listen.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
HEAD = struct.pack("!HHBB", 1, 0x0800, 6, 4)
"""Ethernet and IPv4, with the lengths of their addresses."""


def open_arp(interface: str) -> socket.socket:
    """A socket below IP for ARP on one interface of the calling thread's namespace. OSError where there is no such interface."""
    below = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ARP))
    try:
        below.bind((interface, ETH_P_ARP))
    except OSError:
        below.close()
        raise
    return below


def send_arp(below: socket.socket, claim: str, target: str) -> None:
    """Ask for the hardware address of `target`, as if `claim` were our own address."""
    interface, _, _, _, mac = below.getsockname()
    sender, asked = IPv4Address(claim).packed, IPv4Address(target).packed
    below.sendto(HEAD + struct.pack("!H6s4s6s4s", 1, mac, sender, b"", asked), (interface, ETH_P_ARP, 0, 0, BROADCAST))


def is_answer(data: bytes, claim: str, target: str) -> bool:
    """Whether this is the target's reply to whoever has the claimed address."""
    if len(data) < 28 or data[:6] != HEAD:
        return False
    operation, _, sender, _, asked = struct.unpack("!H6s4s6s4s", data[6:28])
    return bool(operation == 2 and sender == IPv4Address(target).packed and asked == IPv4Address(claim).packed)
