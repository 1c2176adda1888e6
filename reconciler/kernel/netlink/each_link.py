"""Reads the links of a container's namespace one by one, because its root can create a link that no dump holds.

A macvlan of mode `source` with 5,400 hardware addresses needs more than a datagram, and the lengths of the attributes
around them (16 bits) overflow. From 10,000 on, the kernel may return no dump of links at all (ENOBUFS). Such a link has
only its number and its name here, so it is not netctl's.
"""

from __future__ import annotations

import fcntl
import struct

from reconciler.kernel.netlink.dump import name_lower_devices, parse_link
from reconciler.kernel.netlink.encode import IFINFOMSG, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS, RTM_GETLINK, U32, encode_link_get
from reconciler.kernel.netlink.rtnetlink import NetlinkError, RouteSocket, attribute, message
from reconciler.state.snapshot import LinkInfo

RTM_GETSTATS = 94  # linux/rtnetlink.h
IF_STATS_MSG = struct.Struct("=BBHII")  # linux/if_link.h: family, padding, interface number, which statistics
IFLA_STATS_LINK_64 = 1
SIOCGIFNAME, SIOCGIFINDEX = 0x8910, 0x8933  # netdevice(7); any socket accepts them
IFREQ = struct.Struct("=16si20x")


def read_each_link(route_socket: RouteSocket) -> dict[int, LinkInfo]:
    """All links of the namespace, by interface number. The socket must not have a failed dump (EBUSY)."""
    found = route_socket.dump(RTM_GETSTATS, IF_STATS_MSG.pack(0, 0, 0, 0, IFLA_STATS_LINK_64))
    numbers = [IF_STATS_MSG.unpack_from(body)[3] for _, body in found]
    return name_lower_devices([link for number in numbers if (link := _read_link(route_socket, number))])


def find_link(route_socket: RouteSocket, name: str) -> LinkInfo | None:
    """The link of this name; None if there is none. NetlinkError if it cannot be read, unless a container's root created it."""
    try:
        return _get(route_socket, encode_link_get(name))
    except NetlinkError:
        if not route_socket.restless:
            raise
        _, number = _ask(route_socket, SIOCGIFINDEX, IFREQ.pack(name.encode(), 0))
        return _name_only(number, name) if number else None


def _read_link(route_socket: RouteSocket, number: int) -> LinkInfo | None:
    skip = attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    try:
        return _get(route_socket, message(RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, number, 0, 0) + skip))
    except NetlinkError:
        name, _ = _ask(route_socket, SIOCGIFNAME, IFREQ.pack(b"", number))
        return _name_only(number, name) if name else None


def _get(route_socket: RouteSocket, request: bytearray) -> LinkInfo | None:
    data = route_socket.get(request)
    return parse_link(data) if data is not None else None


def _ask(route_socket: RouteSocket, command: int, request: bytes) -> tuple[str, int]:
    """The name and the number of a link by ioctl(2); "" and 0 if it does not exist any more."""
    try:
        name, number = IFREQ.unpack(fcntl.ioctl(route_socket.fileno(), command, request))
    except OSError:
        return "", 0
    return name.rstrip(b"\0").decode("utf-8", "replace"), number


def _name_only(number: int, name: str) -> LinkInfo:
    return LinkInfo(number, name, kind="", mac="", mtu=0, group=0, up=False)
