"""Dumps of neighbor tables and forwarding databases (rtnetlink(7), RTM_GETNEIGH) as the plain values of `state.snapshot`.

The kernel's messages of both have one form. As in `dump`, a malformed entry raises NetlinkError. The cost grows with
the number of entries.
"""

from __future__ import annotations

import socket

from reconciler.kernel.netlink.encode import (
    AF_BRIDGE,
    NDA_DST,
    NDA_LLADDR,
    NDA_PROTOCOL,
    NDMSG,
    NTF_PROXY,
    NTF_STICKY,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
)
from reconciler.kernel.netlink.rtnetlink import ATTRIBUTE, NetlinkError, RouteSocket, find_attributes, ip_of, mac_of, parse_ip
from reconciler.state.snapshot import FdbInfo, NeighborInfo
from reconciler.state.uapi import NUD_NOARP, NUD_PERMANENT

NDA_CACHEINFO = 3  # linux/neighbour.h: how long ago an entry was used, confirmed and changed
NEIGHBOR_ATTRIBUTES = frozenset((NDA_DST, NDA_LLADDR, NDA_PROTOCOL))


def read_neighbors(route_socket: RouteSocket, proxies: bool = True) -> tuple[NeighborInfo, ...]:
    """The neighbor entries of both families, and with `proxies` also the proxy entries."""
    found, *more = (
        route_socket.read((RTM_GETNEIGH, NDMSG.pack(0, 0, 0, flags, 0)), RTM_NEWNEIGH, parse_neighbor, tuple, key=without_ages)
        for flags in ((0, NTF_PROXY) if proxies else (0,))
    )
    return (*found, *more[0]) if more and more[0] else found


def without_ages(data: memoryview) -> bytes:
    """An entry without its ages, which differ in each dump."""
    offset, end = NDMSG.size, len(data)
    while offset + ATTRIBUTE.size <= end:
        length, number = ATTRIBUTE.unpack_from(data, offset)
        if number == NDA_CACHEINFO:
            return bytes(data[:offset]) + data[offset + length :]
        offset += max(ATTRIBUTE.size, (length + 3) & ~3)
    return bytes(data)


def parse_neighbor(data: memoryview) -> NeighborInfo | None:
    """One RTM_NEWNEIGH of IPv4 or IPv6; None for the kernel's own entries (multicast and loopback: NUD_NOARP)."""
    if len(data) < NDMSG.size:
        raise NetlinkError("a neighbor in the kernel's answer is truncated")
    family, index, state, flags, _ = NDMSG.unpack_from(data)
    if family not in (socket.AF_INET, socket.AF_INET6) or state & NUD_NOARP:
        return None
    found = find_attributes(data, NDMSG.size, NEIGHBOR_ATTRIBUTES)
    return NeighborInfo(
        index=index,
        address=ip_of(family, found, NDA_DST),
        mac=mac_of(found, NDA_LLADDR),
        state=state,
        protocol=found[NDA_PROTOCOL][0] if found.get(NDA_PROTOCOL) else 0,
        proxy=bool(flags & NTF_PROXY),
    )


def read_fdb(route_socket: RouteSocket) -> tuple[FdbInfo, ...]:
    """The static entries of tunnels (with the remote end) and of bridge ports."""
    return route_socket.read((RTM_GETNEIGH, NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)), RTM_NEWNEIGH, parse_fdb, tuple, key=without_ages)


def parse_fdb(data: memoryview) -> FdbInfo | None:
    """One RTM_NEWNEIGH of AF_BRIDGE; None for a link's own addresses and for learned ones."""
    if len(data) < NDMSG.size:
        raise NetlinkError("a forwarding entry in the kernel's answer is truncated")
    _, index, state, flags, _ = NDMSG.unpack_from(data)
    found = find_attributes(data, NDMSG.size, NEIGHBOR_ATTRIBUTES)
    remote = found.get(NDA_DST)
    is_static = state & (NUD_PERMANENT | NUD_NOARP) if remote else state & NUD_NOARP
    if not is_static:
        return None
    family = socket.AF_INET if remote and len(remote) == 4 else socket.AF_INET6
    return FdbInfo(index, mac_of(found, NDA_LLADDR), parse_ip(family, remote) if remote else "", state, bool(flags & NTF_STICKY))


def read_learnt(route_socket: RouteSocket) -> frozenset[str]:
    """The hardware addresses that the bridges of a namespace have learned: entries that are neither static nor a link's own."""
    found = route_socket.dump(RTM_GETNEIGH, NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0))
    static = NUD_PERMANENT | NUD_NOARP
    learnt = (data for kind, data in found if kind == RTM_NEWNEIGH and not NDMSG.unpack_from(data)[2] & static)
    return frozenset(mac_of(find_attributes(data, NDMSG.size, NEIGHBOR_ATTRIBUTES), NDA_LLADDR) for data in learnt)
