"""ARP requests to a node of a LAN, and whether it answers."""

from __future__ import annotations

import socket
import struct
import time
from ipaddress import IPv4Address

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
ARP = struct.Struct("!HHBBH6s4s6s4s")
REQUEST, REPLY = 1, 2
INTERVAL_S = 0.2


def answers(dev: str, own: str, target: str, timeout_s: float) -> bool:
    """Whether `target` answers a request of `own` within `timeout_s` on the link `dev`, in the calling thread's namespace.

    OSError if the link does not exist or is down.
    """
    wanted, asker = IPv4Address(target).packed, IPv4Address(own).packed
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as frames:
        frames.bind((dev, ETH_P_ARP))
        mac: bytes = frames.getsockname()[4]
        request = ARP.pack(1, 0x0800, 6, 4, REQUEST, mac, asker, bytes(6), wanted)
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            frames.send(BROADCAST + mac + struct.pack("!H", ETH_P_ARP) + request)
            if _is_answered(frames, wanted, min(INTERVAL_S, left_s)):
                return True
    return False


def _is_answered(frames: socket.socket, wanted: bytes, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        frames.settimeout(left_s)
        try:
            frame = frames.recv(128)
        except TimeoutError:
            return False
        if len(frame) >= 14 + ARP.size:
            _, _, _, _, operation, _, sender, _, _ = ARP.unpack_from(frame, 14)
            if (operation, sender) == (REPLY, wanted):
                return True
    return False
