"""What attacks inside a machine (tests.harness.machine): sends frames from one place and says where they arrive. Without netctl.

Reads JSON from standard input:

- `send`, a list of [name, frame in hex]
- `source`, the network namespace that sends by its eth0 or by `link`; or the number of a process, whose namespace and rights it
  sends with
- `listen`, a mapping of a name to [namespace, link]

A namespace "" is the machine's own. Prints a mapping of each listener to the names of the frames that arrived there. A
frame that the kernel itself sends by the link does not count.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SILENCE_S = 0.4
"""So long after the last frame, none is on its way any more."""


def inside(netns: str, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in another namespace, by a thread that enters it."""
    made: list[socket.socket] = []

    def body() -> None:
        if netns:
            descriptor = os.open(f"/run/netns/{netns}", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), netns)
        made.append(make())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return made[0]


def with_rights_of(pid: int, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in the network namespace of a process, by a thread that has no more capabilities than that process."""
    made: list[socket.socket | OSError] = []

    def body() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        effective = int(status.partition("CapEff:")[2].split()[0], 16)
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        # capset(2): a header (version 3, this thread), then effective, permitted and inheritable, low words first.
        low, high = effective & 0xFFFFFFFF, effective >> 32
        words = struct.pack("=6I", low, low, 0, high, high, 0)
        if libc.setns(descriptor, CLONE_NEWNET) or libc.capset(struct.pack("=Ii", 0x20080522, 0), words):
            raise OSError(ctypes.get_errno(), f"the rights of process {pid}")
        try:
            made.append(make())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def packet_socket(source: str | int, link: str, protocol: int) -> socket.socket:
    """One that sends by the link, and receives everything from it if `protocol` says so."""

    def make() -> socket.socket:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))

    made = with_rights_of(source, make) if isinstance(source, int) else inside(source, make)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    made.bind((link, protocol))
    return made


def shown(frame: bytes) -> bytes:
    """A frame as a raw socket shows it: the kernel takes a VLAN's tag off."""
    return frame[:12] + frame[16:] if frame[12:14] in (b"\x81\x00", b"\x88\xa8") else frame


def main() -> None:
    """Send everything, listen until it is silent, and print who got what."""
    job = json.load(sys.stdin)
    frames = {name: bytes.fromhex(text) for name, text in job["send"]}
    wire = packet_socket(job["source"], job.get("link", "eth0"), 0)
    listeners = {packet_socket(netns, link, ETH_P_ALL): name for name, (netns, link) in job["listen"].items()}
    heard: dict[str, list[bytes]] = {name: [] for name in listeners.values()}

    def drain(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for listener in select.select(list(listeners), [], [], left)[0]:
                frame, (_, _, kind, *_) = listener.recvfrom(65536)
                if kind != PACKET_OUTGOING:
                    heard[listeners[listener]].append(frame)

    for frame in frames.values():
        wire.send(frame)
        drain(0.002)
    drain(SILENCE_S)
    arrived = {
        name: [word for word, frame in frames.items() if any(one.startswith(shown(frame)) for one in those)]
        for name, those in heard.items()
    }
    print(json.dumps(arrived))


if __name__ == "__main__":
    main()
