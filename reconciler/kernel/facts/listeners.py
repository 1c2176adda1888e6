"""The used ports of the host: sockets that listen, and their holders.

They are read from /proc/thread-self/net, which is that of the calling thread's namespace (/proc/self/net is the main
thread's). The inode of the socket leads to the holder, among the descriptors of the processes in the same namespace.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reconciler.state.foreign import TransportProtocol

TCP_LISTEN, UDP_UNCONNECTED = "0A", "07"  # net/tcp_states.h
FILES: tuple[tuple[str, TransportProtocol, str], ...] = (
    ("tcp", "tcp", TCP_LISTEN),
    ("tcp6", "tcp", TCP_LISTEN),
    ("udp", "udp", UDP_UNCONNECTED),
    ("udp6", "udp", UDP_UNCONNECTED),
)


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that receives packets for a port; `inode` is its number on sockfs, `holder` the program and pid, or ""."""

    protocol: TransportProtocol
    address: str
    port: int
    inode: str
    holder: str = ""


def read_listeners() -> tuple[ListeningSocket, ...]:
    """Every listening TCP socket and every UDP socket without a peer, in the calling thread's namespace."""
    found = read_sockets()
    holders = read_holders({listener.inode for listener in found}) if found else {}
    named = (ListeningSocket(one.protocol, one.address, one.port, one.inode, holders.get(one.inode, "")) for one in found)
    return tuple(sorted(named, key=lambda one: (one.protocol, one.port, one.address)))


def read_sockets() -> list[ListeningSocket]:
    """The same, without their holders: reading each process costs more than all else."""
    found = []
    for name, protocol, state in FILES:
        try:
            text = Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii")
        except FileNotFoundError:  # a kernel without IPv6
            continue
        found += parse_listeners(protocol, state, text)
    return found


def parse_listeners(protocol: TransportProtocol, state: str, text: str) -> list[ListeningSocket]:
    """The sockets in `state` of a file such as /proc/net/tcp (proc(5)).

    After a title it has one line for each, with the local address second, the state fourth and the inode tenth.
    """
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3] == state:
            address, _, port = words[1].partition(":")
            found.append(ListeningSocket(protocol, parse_address(address), int(port, 16), words[9]))
    return found


def parse_address(text: str) -> str:
    """An address as the kernel prints it there: 32-bit words in the machine's own byte order."""
    raw = b"".join(struct.pack("=I", int(text[index : index + 8], 16)) for index in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def read_holders(inodes: Iterable[str]) -> dict[str, str]:
    """`nginx (pid 12)` for each of the sockets that a process of the same namespace holds; the first process found counts."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    own = os.stat("/proc/thread-self/ns/net")
    found: dict[str, str] = {}
    with os.scandir("/proc") as entries:
        pids = sorted(int(entry.name) for entry in entries if entry.name.isdigit())
    for pid in pids:
        try:
            if not os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), own):
                continue
            held = {wanted[link] for link in read_descriptors(pid) if link in wanted}
            for inode in held - found.keys():
                found[inode] = f"{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (pid {pid})"
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or this process may not read it
            continue
    return found


def read_descriptors(pid: int) -> list[str]:
    """The targets of a process's descriptors."""
    links = []
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            try:
                links.append(os.readlink(entry.path))
            except FileNotFoundError:
                continue
    return links
