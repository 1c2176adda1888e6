"""The kernel's route to an address (ip-route(8), `get`)."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from reconciler.kernel.netlink.encode import RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_GETROUTE, RTMSG
from reconciler.kernel.netlink.rtnetlink import NetlinkError, RouteSocket, attribute, find_attributes, ip_of, message, u32_of
from reconciler.probes.model import RouteLookup


def look_up(address: str) -> tuple[str, str]:
    """Next hop and interface, in the calling thread's namespace. OSError if the kernel has no route.

    The next hop is "" for an address on the interface's own segment.
    """
    target = ip_address(address)
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    body = RTMSG.pack(family, target.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(RTA_DST, target.packed)
    route_socket = RouteSocket()
    try:
        answer = route_socket.get(message(RTM_GETROUTE, 0, body))
    except NetlinkError as error:
        raise OSError(error.number, str(error)) from error
    finally:
        route_socket.close()
    if answer is None:
        return "", ""
    found = find_attributes(answer, RTMSG.size, (RTA_GATEWAY, RTA_OIF))
    index = u32_of(found, RTA_OIF)
    return ip_of(family, found, RTA_GATEWAY), socket.if_indextoname(index) if index else ""


def compare_route(probe: RouteLookup) -> tuple[str, str]:
    """Outcome and detail of a lookup: "answered" if the kernel picks the next hop and interface of the file."""
    via, interface = look_up(probe.address)
    if (ip_address(via) if via else None, interface) == (ip_address(probe.via), probe.interface):
        return "answered", ""
    by = f" by {via}" if via else ""
    return "wrong", f"the kernel sends{by} over {interface}" if interface else "the kernel has no route"
