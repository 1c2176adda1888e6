"""Nexthop objects (ip-nexthop(8)) of a link, and the routes via them.

A route names its object, and its link only as long as `net.ipv4.nexthop_compat_mode` is 1 (ip-sysctl.rst). So this
module reads the links of the objects. Numbers are from linux/nexthop.h and linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from reconciler.kernel.netlink.encode import (
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_NH_ID,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    RTMSG,
    U32,
)
from reconciler.kernel.netlink.rtnetlink import NetlinkError, RouteSocket, parse_attributes

RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
NHMSG = struct.Struct("=BBBBI")  # nhmsg: family, scope, protocol, -, flags
NHA_ID, NHA_GROUP, NHA_OIF = 1, 2, 5
MEMBER = struct.Struct("=IBBH")  # nexthop_grp: number, weight, high bits of the weight, -


@dataclass(frozen=True, slots=True)
class ObjectRoute:
    """A route by a nexthop object, in the words of ip-route(8). `via` is "" if the kernel does not report the next hop."""

    family: int
    dst: str
    via: str
    metric: int
    table: int
    nexthop: int

    @property
    def selector(self) -> str:
        """The words that identify it among routes: `10.9.0.0/16 metric 100 table 77`."""
        metric, table = f" metric {self.metric}" if self.metric else "", f" table {self.table}"
        return f"{self.dst}{metric}{table if self.table != RT_TABLE_MAIN else ''}"


def read_object_routes(route_socket: RouteSocket, index: int) -> tuple[ObjectRoute, ...]:
    """The routes of all tables over a link by a nexthop object, or by a group that contains one of the link's."""
    numbers = frozenset(_numbers_of(route_socket, index))
    if not numbers:
        return ()
    routes = (
        _parse_route(body)
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind, body in route_socket.dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
        if kind == RTM_NEWROUTE
    )
    return tuple(route for route in routes if route.nexthop in numbers)


def _numbers_of(route_socket: RouteSocket, index: int) -> Iterator[int]:
    """The numbers of the link's nexthop objects, and of the groups that contain them. A group contains no groups."""
    try:
        dump = route_socket.dump(RTM_GETNEXTHOP, NHMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    except NetlinkError as error:
        if error.number != errno.EOPNOTSUPP:  # a kernel before 5.3 has none
            raise
        return
    found = [dict(parse_attributes(body, NHMSG.size)) for kind, body in dump if kind == RTM_NEWNEXTHOP]
    own = {_u32(each[NHA_ID]) for each in found if NHA_OIF in each and _u32(each[NHA_OIF]) == index}
    yield from own
    for each in found:
        if own.intersection(number for number, *_ in MEMBER.iter_unpack(each.get(NHA_GROUP, b""))):
            yield _u32(each[NHA_ID])


def _parse_route(body: memoryview) -> ObjectRoute:
    family, length, _, _, table, *_ = RTMSG.unpack_from(body)
    found = dict(parse_attributes(body, RTMSG.size))
    return ObjectRoute(
        4 if family == socket.AF_INET else 6,
        f"{ip_address(bytes(found[RTA_DST]))}/{length}" if RTA_DST in found else "default",
        str(ip_address(bytes(found[RTA_GATEWAY]))) if RTA_GATEWAY in found else "",
        _u32(found[RTA_PRIORITY]) if RTA_PRIORITY in found else 0,
        _u32(found[RTA_TABLE]) if RTA_TABLE in found else table,
        _u32(found[RTA_NH_ID]) if RTA_NH_ID in found else 0,
    )


def _u32(data: bytes | memoryview) -> int:
    number: int = U32.unpack(data)[0]
    return number
