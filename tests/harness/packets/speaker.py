"""What speaks inside the machine of `world`: TCP with a megabyte, and forged frames. A script of its own, without netctl.

    speaker.py serve PORT          take one connection, print how many bytes came
    speaker.py send ADDRESS PORT   send a megabyte
    speaker.py judge FROM TO       frames as JSON on standard input, by name; prints the names of those that arrive

A frame is sent by eth0 in the namespace FROM, and looked for on eth0 in the namespace TO. After each goes `honest`, whose arrival
shows that the one before has been judged. It may overtake it by a little, so all is looked at until some time after the last.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

MEGABYTE = 1 << 20
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3


def serve(port: int) -> int:
    """The number of bytes that one client sent."""
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(20)
        connection, _ = server.accept()
    count = 0
    with connection:
        connection.settimeout(20)
        while data := connection.recv(65536):
            count += len(data)
    return count


def send(address: str, port: int) -> None:
    """A server that has not opened yet is given a moment."""
    deadline = time.monotonic() + 5
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=5)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    with connection:
        connection.sendall(bytes(MEGABYTE))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def inside(netns: str, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in another namespace, by a thread that enters it."""
    made: list[socket.socket] = []

    def body() -> None:
        descriptor = os.open(f"/run/netns/{netns}", os.O_RDONLY)
        if ctypes.CDLL(None).setns(descriptor, CLONE_NEWNET) == 0:
            made.append(make())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return made[0]


def judge(sender: str, receiver: str) -> list[str]:
    """The names of the frames that arrive."""
    frames = {name: bytes.fromhex(frame) for name, frame in json.load(sys.stdin).items()}
    wire = inside(sender, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    wire.bind(("eth0", 0))
    listener = inside(receiver, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)))
    listener.bind(("eth0", ETH_P_ALL))
    listener.settimeout(5)
    honest = frames.pop("honest")
    seen: list[bytes] = []
    for frame in (*frames.values(), honest):
        if frame is honest:
            time.sleep(0.2)
        wire.send(frame)
        wire.send(honest)
        while not seen or not seen[-1].startswith(honest):
            seen.append(listener.recv(2048))
        seen.append(b"")
    return [name for name, frame in frames.items() if any(one.startswith(_shown(frame)) for one in seen)]


def _shown(frame: bytes) -> bytes:
    """A frame as a raw socket shows it: the kernel takes a VLAN's tag off."""
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        print(serve(int(sys.argv[2])))
    elif sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]))
    else:
        print(json.dumps(judge(sys.argv[2], sys.argv[3])))
