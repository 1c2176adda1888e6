"""Notifications of the kernel: rtnetlink(7) of a namespace and all its neighbours, and nftables of one namespace.

A socket with NETLINK_LISTEN_ALL_NSID (netlink(7)) also receives the notifications of every namespace that has a number in its
own. A namespace gets one when a link leads there (peernet2id_alloc in net/core/rtnetlink.c). So one socket on a host covers its
containers with a veth pair.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

from reconciler.kernel.events.source import Cause
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kernel.netlink.rtnetlink import HEADER, SOL_NETLINK, NetlinkError, parse_attributes, parse_messages, parse_text

NETLINK_NETFILTER = 12  # linux/netlink.h
NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
RECEIVE_BUFFER_BYTES = 1 << 21
"""A flush of a large ruleset sends hundreds of notifications at once; more than fit are one hint, too (ENOBUFS)."""
RECEIVE_BYTES = 1 << 16
READS_MAX = 4096
"""Of one `drain`: a stream of events that never ends must not hold up the loop."""

ROUTE_GROUPS = {
    "RTNLGRP_LINK": 1,
    "RTNLGRP_NEIGH": 3,
    "RTNLGRP_TC": 4,
    "RTNLGRP_IPV4_IFADDR": 5,
    "RTNLGRP_IPV4_ROUTE": 7,
    "RTNLGRP_IPV4_RULE": 8,
    "RTNLGRP_IPV6_IFADDR": 9,
    "RTNLGRP_IPV6_ROUTE": 11,
    "RTNLGRP_IPV6_RULE": 19,
    "RTNLGRP_IPV4_NETCONF": 24,
    "RTNLGRP_IPV6_NETCONF": 25,
}  # linux/rtnetlink.h
NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h
NFT_MSG_NEWGEN = 0xA0F  # NFNL_SUBSYS_NFTABLES << 8 | 15, linux/netfilter/nf_tables.h
NFTA_GEN_PROC_NAME = 3
NFGENMSG_BYTES = 4

RTM_NEWNEIGH = 28
NDMSG = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
NUD_FIXED = 0xC0  # NUD_PERMANENT | NUD_NOARP, linux/neighbour.h


class Notifications:
    """A netlink socket that belongs to multicast groups, in the namespace of the thread that makes it."""

    def __init__(self, protocol: int, groups: tuple[int, ...], cause: Cause) -> None:
        """OSError if the kernel gives no socket, or does not know a group."""
        self.cause = cause
        self.programs: set[str] = set()
        """The names of the programs that made the changes, as far as the kernel says and they still run."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setblocking(False)
            with contextlib.suppress(PermissionError):  # a smaller buffer loses events sooner, and says so
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            if protocol == socket.NETLINK_ROUTE:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
            self._socket.bind((0, 0))  # without a port of its own it receives nothing
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take all notifications; whether one of them is a hint."""
        found = False
        for _ in range(READS_MAX):
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found = True  # the kernel has dropped some
                continue
            if self.cause is not Cause.KERNEL or is_hint(data):
                found = True
                self.programs |= find_programs(data)
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def is_hint(data: bytes) -> bool:
    """Whether a datagram of rtnetlink speaks of anything but a neighbor that the kernel has found by itself.

    Every host that talks changes such entries without end. netctl creates permanent ones only.
    """
    try:
        return any(
            number != RTM_NEWNEIGH or len(body) < NDMSG.size or bool(NDMSG.unpack_from(body)[2] & NUD_FIXED)
            for number, _, _, body in parse_messages(data)
        )
    except NetlinkError:
        return True


def find_programs(data: bytes) -> set[str]:
    """The programs that made the changes of a datagram.

    nftables names its own. Rtnetlink has the port of the socket that asked. For the first socket of a process it is the
    process number (netlink(7)); 0 is the kernel.
    """
    found: set[str] = set()
    with contextlib.suppress(NetlinkError):
        for number, _, _, body in parse_messages(data):
            if number == NFT_MSG_NEWGEN:
                found |= {
                    parse_text(value) for kind, value in parse_attributes(body, NFGENMSG_BYTES) if kind == NFTA_GEN_PROC_NAME
                }
    if not found:
        found = {name for port in _parse_ports(data) if (name := _read_name(port))}
    return found


def _parse_ports(data: bytes) -> set[int]:
    ports, offset = set(), 0
    while offset + HEADER.size <= len(data):
        length, *_, port = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            break
        ports.add(port)
        offset += (length + 3) & ~3
    return ports - {0}


def _read_name(pid: int) -> str:
    """The name of a process, "" if it has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def read_own_name() -> str:
    """The name of this process, as the kernel has it."""
    return _read_name(os.getpid())


def open_route_events(path: str) -> Notifications:
    """The notifications of rtnetlink in the namespace at `path`. OSError."""
    return _open_in(path, socket.NETLINK_ROUTE, tuple(ROUTE_GROUPS.values()), Cause.KERNEL)


def open_firewall_events(path: str) -> Notifications:
    """The notifications of nftables in the namespace at `path`. OSError."""
    return _open_in(path, NETLINK_NETFILTER, (NFNLGRP_NFTABLES,), Cause.FIREWALL)


def _open_in(path: str, protocol: int, groups: tuple[int, ...], cause: Cause) -> Notifications:
    def body() -> Notifications:
        enter(path)
        return Notifications(protocol, groups, cause)

    return run_in_thread(body)
