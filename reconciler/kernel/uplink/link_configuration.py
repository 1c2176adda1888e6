"""The configuration of a link besides the link itself (addresses, routes, permanent neighbors), and its move to another link.

Each item is stored as the body of the kernel's own message about it, so that unknown attributes are preserved. The move
replaces the interface number in it, and omits what only the kernel may set. Numbers are from linux/if_addr.h and
linux/rtnetlink.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Self

from reconciler.kernel.netlink.dump import NEXTHOP, RTA_MULTIPATH, RTM_F_CLONED, USER_HZ
from reconciler.kernel.netlink.encode import (
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_FLAGS,
    IFA_LOCAL,
    IFADDRMSG,
    NDA_DST,
    NDA_LLADDR,
    NDA_PROTOCOL,
    NDMSG,
    RTA_DST,
    RTA_GATEWAY,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_DELADDR,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTMSG,
    U32,
)
from reconciler.kernel.netlink.rtnetlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RouteSocket,
    attribute,
    message,
    parse_attributes,
    parse_text,
)
from reconciler.state.naming import INTERFACE_NAME_MAX
from reconciler.state.uapi import NUD_PERMANENT

IFA_LABEL, IFA_CACHEINFO, IFA_RT_PRIORITY, IFA_PROTO = 3, 6, 9, 11
IFA_FLAGS_KEPT = 0x0002 | 0x0010 | 0x0100 | 0x0200 | 0x0400
"""The flags that a request may set: nodad, home, mngtmpaddr, noprefixroute, autojoin; the kernel sets the others."""
RTA_CACHEINFO, RTA_EXPIRES = 12, 23
RTNH_F_KEPT = 0x2 | 0x4
"""pervasive, onlink."""
RT_TABLE_LOCAL = 255
RTPROT_KERNEL = 2
FOREVER = 0xFFFFFFFF
CACHEINFO = struct.Struct("=II")  # preferred and valid lifetime, in seconds; two time stamps follow

Labels = tuple[tuple[str, str], ...]
"""IPv4 address and length, and its label."""


@dataclass(frozen=True, slots=True)
class LinkConfiguration:
    """Bodies of RTM_NEWADDR, RTM_NEWROUTE and RTM_NEWNEIGH, in the order of the kernel's dump."""

    addresses: tuple[bytes, ...] = ()
    routes: tuple[bytes, ...] = ()
    neighbors: tuple[bytes, ...] = ()

    @property
    def labels(self) -> Labels:
        """The labels of the IPv4 addresses."""
        labels = ((_address_key(body), _attributes(body, IFADDRMSG.size).get(IFA_LABEL)) for body in self.addresses)
        return tuple((key, parse_text(memoryview(label))) for key, label in labels if label)

    @property
    def routers(self) -> tuple[str, ...]:
        """The next hops of the IPv4 default routes."""
        found = ((RTMSG.unpack_from(body), _attributes(body, RTMSG.size)) for body in self.routes)
        hops = (kept[RTA_GATEWAY] for head, kept in found if head[:2] == (socket.AF_INET, 0) and RTA_GATEWAY in kept)
        return tuple(dict.fromkeys(str(ip_address(hop)) for hop in hops))

    @property
    def first_ipv4(self) -> str:
        """The first IPv4 address, without its length; "" if there is none."""
        return next((_address_key(body).partition("/")[0] for body in self.addresses if body[0] == socket.AF_INET), "")

    def without(self, *others: LinkConfiguration) -> LinkConfiguration:
        """The items that none of the others has, on whatever link."""
        addresses = {_address_key(body) for other in others for body in other.addresses}
        routes = {_route_key(body) for other in others for body in other.routes}
        neighbors = {_neighbor_key(body) for other in others for body in other.neighbors}
        return LinkConfiguration(
            tuple(body for body in self.addresses if _address_key(body) not in addresses),
            tuple(body for body in self.routes if _route_key(body) not in routes),
            tuple(body for body in self.neighbors if _neighbor_key(body) not in neighbors),
        )

    def aged(self, elapsed_s: float) -> LinkConfiguration:
        """The configuration after `elapsed_s` seconds: lifetimes are shorter, and expired items are left out."""
        addresses = tuple(aged for body in self.addresses if (aged := _age_address(body, int(elapsed_s))))
        return LinkConfiguration(addresses, self.routes, self.neighbors)

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        """Each item with a text for users, who may have to read the file if all else has failed."""
        return {
            "addresses": [{"text": _address_key(body), "message": body.hex()} for body in self.addresses],
            "routes": [{"text": _route_key(body), "message": body.hex()} for body in self.routes],
            "neighbors": [{"text": _neighbor_key(body), "message": body.hex()} for body in self.neighbors],
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The inverse. KeyError, TypeError or ValueError for anything else."""
        sections = (tuple(bytes.fromhex(one["message"]) for one in data[name]) for name in ("addresses", "routes", "neighbors"))
        return cls(*sections)


@dataclass(frozen=True, slots=True)
class Goods:
    """The items to move: those of the source, those that only the file has, and labels to restore."""

    held: LinkConfiguration
    lost: LinkConfiguration = field(default_factory=LinkConfiguration)
    labels: Labels = ()


def read_link_configuration(route_socket: RouteSocket, index: int) -> LinkConfiguration:
    """All items of a link. Routes of the table `local` are the kernel's, and follow from the addresses."""
    addresses = (
        bytes(body) for kind, body in route_socket.dump(RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0)) if kind == RTM_NEWADDR
    )
    routes = (
        bytes(body)
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind, body in route_socket.dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
        if kind == RTM_NEWROUTE
    )
    neighbors = (bytes(body) for kind, body in route_socket.dump(RTM_GETNEIGH, NDMSG.pack(0, 0, 0, 0, 0)) if kind == RTM_NEWNEIGH)
    return LinkConfiguration(
        tuple(body for body in addresses if IFADDRMSG.unpack_from(body)[4] == index),
        tuple(body for body in routes if _is_movable(body, index)),
        tuple(body for body in neighbors if NDMSG.unpack_from(body)[1] == index and NDMSG.unpack_from(body)[2] & NUD_PERMANENT),
    )


def encode_move(goods: Goods, source: tuple[int, str], target: tuple[int, str]) -> list[bytearray]:
    """The messages of a move. Links are (interface number, name); source number 0 is a deleted one.

    Addresses exist twice for a moment, and never not at all. With an address the kernel deletes the routes that prefer
    it as their source, also those on the target; so routes are last.
    """
    ipv4 = [body for body in (*goods.held.addresses, *goods.lost.addresses) if body[0] == socket.AF_INET]
    # The kernel puts a new IPv6 address before the others of its scope: the reverse order preserves theirs.
    ipv6 = [body for body in (*goods.held.addresses, *goods.lost.addresses) if body[0] == socket.AF_INET6][::-1]
    routes = (*goods.held.routes, *goods.lost.routes)
    neighbors = (*goods.held.neighbors, *goods.lost.neighbors)
    return [
        *(_address(body, source, target, dict(goods.labels)) for body in (*ipv4, *ipv6)),
        *(_address_deletion(body) for body in goods.held.addresses),
        *(_route_deletion(body) for body in goods.held.routes),
        *_routes(routes, source, target),
        *(message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, _neighbor(body, target[0])) for body in neighbors),
        *(message(RTM_DELNEIGH, 0, _neighbor(body, NDMSG.unpack_from(body)[1])) for body in goods.held.neighbors),
    ]


def _attributes(body: bytes, offset: int) -> dict[int, bytes]:
    return {number: bytes(value) for number, value in parse_attributes(memoryview(body), offset)}


# --- addresses --------------------------------------------------------------------------------------------------------


def _address_key(body: bytes) -> str:
    family, length, _, _, _ = IFADDRMSG.unpack_from(body)
    found = _attributes(body, IFADDRMSG.size)
    return f"{socket.inet_ntop(family, found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b'')))}/{length}"


def _age_address(body: bytes, elapsed_s: int) -> bytes | None:
    found = _attributes(body, IFADDRMSG.size)
    if IFA_CACHEINFO not in found:
        return body
    preferred_s, valid_s = CACHEINFO.unpack_from(found[IFA_CACHEINFO])
    if valid_s != FOREVER and valid_s <= elapsed_s:
        return None
    lifetimes = (value if value == FOREVER else max(0, value - elapsed_s) for value in (preferred_s, valid_s))
    found[IFA_CACHEINFO] = CACHEINFO.pack(*lifetimes) + found[IFA_CACHEINFO][CACHEINFO.size :]
    return body[: IFADDRMSG.size] + b"".join(attribute(number, value) for number, value in found.items())


def _address(body: bytes, source: tuple[int, str], target: tuple[int, str], labels: dict[str, str]) -> bytearray:
    family, length, flags, scope, _ = IFADDRMSG.unpack_from(body)
    found = _attributes(body, IFADDRMSG.size)
    flags = U32.unpack(found[IFA_FLAGS])[0] if IFA_FLAGS in found else flags
    head = IFADDRMSG.pack(family, length, 0, scope, target[0])
    kept = {
        number: found[number] for number in (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO) if number in found
    }
    kept[IFA_FLAGS] = U32.pack(flags & IFA_FLAGS_KEPT)
    if IFA_CACHEINFO in found:
        kept[IFA_CACHEINFO] = found[IFA_CACHEINFO][: CACHEINFO.size] + bytes(8)
    if IFA_LABEL in found:
        label = labels.get(_address_key(body)) or _relabel(parse_text(memoryview(found[IFA_LABEL])), source[1], target[1])
        kept[IFA_LABEL] = label.encode() + b"\0"
    return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, head + b"".join(attribute(*one) for one in kept.items()))


def _relabel(label: str, source: str, target: str) -> str:
    """`b-lan:1` of `eth0:1`; the target's name if that would be too long (IFNAMSIZ)."""
    new = target + label.removeprefix(source) if source and label.startswith(source) else label
    return new if len(new) <= INTERFACE_NAME_MAX else target


def _address_deletion(body: bytes) -> bytearray:
    family, length, _, scope, index = IFADDRMSG.unpack_from(body)
    found = _attributes(body, IFADDRMSG.size)
    kept = b"".join(attribute(number, found[number]) for number in (IFA_ADDRESS, IFA_LOCAL) if number in found)
    return message(RTM_DELADDR, 0, IFADDRMSG.pack(family, length, 0, scope, index) + kept)


# --- routes -----------------------------------------------------------------------------------------------------------


def _table_of(body: bytes, found: dict[int, bytes]) -> int:
    table: int = U32.unpack(found[RTA_TABLE])[0] if RTA_TABLE in found else RTMSG.unpack_from(body)[4]
    return table


def _is_movable(body: bytes, index: int) -> bool:
    """Whether a route leads over the link, and a program or user added it rather than the kernel itself."""
    found = _attributes(body, RTMSG.size)
    if _table_of(body, found) == RT_TABLE_LOCAL or RTMSG.unpack_from(body)[8] & RTM_F_CLONED:
        return False
    hops = [hop for hop, _, _ in _hops(found[RTA_MULTIPATH])] if RTA_MULTIPATH in found else []
    return index in hops or (RTA_OIF in found and U32.unpack(found[RTA_OIF])[0] == index)


def _hops(data: bytes) -> Iterator[tuple[int, tuple[int, int], bytes]]:
    """The next hops of a route: interface, (flags, weight), and the attributes of each."""
    offset = 0
    while offset + NEXTHOP.size <= len(data):
        length, flags, weight, index = NEXTHOP.unpack_from(data, offset)
        yield index, (flags, weight), data[offset + NEXTHOP.size : offset + length]
        offset += max(NEXTHOP.size, (length + 3) & ~3)


def _route_key(body: bytes) -> str:
    """A readable key of a route, whatever its link."""
    family, length, _, tos, _, protocol, _, kind, _ = RTMSG.unpack_from(body)
    found = _attributes(body, RTMSG.size)
    dst = f"{ip_address(found[RTA_DST])}/{length}" if RTA_DST in found else "default"
    via = f" via {ip_address(found[RTA_GATEWAY])}" if RTA_GATEWAY in found else ""
    metric = U32.unpack(found[RTA_PRIORITY])[0] if RTA_PRIORITY in found else 0
    version = 4 if family == socket.AF_INET else 6
    return f"IPv{version} {dst}{via} metric {metric} table {_table_of(body, found)} protocol {protocol} type {kind} tos {tos}"


def _is_kernels(body: bytes) -> bool:
    """Whether the kernel creates it with an address. IPv6's exist by themselves; IPv4's are deleted with the address's twin."""
    family, _, _, _, _, protocol, *_ = RTMSG.unpack_from(body)
    return (family, protocol) == (socket.AF_INET6, RTPROT_KERNEL)


def _routes(bodies: tuple[bytes, ...], source: tuple[int, str], target: tuple[int, str]) -> Iterator[bytearray]:
    """Directly connected ones first, because the others need them. A second one of the same key is added next to the first."""
    seen: set[tuple[bytes, bytes, int, bytes]] = set()
    for body in sorted(bodies, key=_is_remote):
        if _is_kernels(body):
            continue
        found = _attributes(body, RTMSG.size)
        rank = (body[:4], found.get(RTA_DST, b""), _table_of(body, found), found.get(RTA_PRIORITY, b""))
        flags = NLM_F_CREATE | (NLM_F_APPEND if rank in seen else NLM_F_REPLACE)
        seen.add(rank)
        yield message(RTM_NEWROUTE, flags, _route(body, source[0] or None, target[0]))


def _is_remote(body: bytes) -> bool:
    found = _attributes(body, RTMSG.size)
    return RTA_GATEWAY in found or RTA_MULTIPATH in found


def _route_deletion(body: bytes) -> bytearray:
    return message(RTM_DELROUTE, 0, _route(body, 0, 0))


def _route(body: bytes, source: int | None, target: int) -> bytes:
    """The body of a request for the route: over `target` in place of `source` (None: of any link); 0 keeps the links."""
    family, length, src_length, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(body)
    found = _attributes(body, RTMSG.size)
    expires = struct.unpack_from("=IIi", found.pop(RTA_CACHEINFO))[2] if len(found.get(RTA_CACHEINFO, b"")) >= 12 else 0
    found.pop(RTA_CACHEINFO, None)
    found.pop(RTA_NH_ID, None)
    if RTA_OIF in found and target:
        found[RTA_OIF] = U32.pack(target)
    if RTA_MULTIPATH in found:
        hops = b""
        for index, (hop_flags, weight), rest in _hops(found[RTA_MULTIPATH]):
            number = target if target and source in (None, index) else index
            hops += NEXTHOP.pack(NEXTHOP.size + len(rest), hop_flags & RTNH_F_KEPT, weight, number) + rest + bytes(-len(rest) & 3)
        found[RTA_MULTIPATH] = hops
    if expires > 0 and target:
        found[RTA_EXPIRES] = U32.pack(max(1, expires // USER_HZ))
    head = RTMSG.pack(family, length, src_length, tos, table, protocol, scope, kind, flags & RTNH_F_KEPT)
    return head + b"".join(attribute(number, value) for number, value in found.items())


# --- neighbors --------------------------------------------------------------------------------------------------------


def _neighbor_key(body: bytes) -> str:
    found = _attributes(body, NDMSG.size)
    return f"{ip_address(found[NDA_DST]) if NDA_DST in found else ''} {found.get(NDA_LLADDR, b'').hex(':')}"


def _neighbor(body: bytes, index: int) -> bytes:
    family, _, state, flags, kind = NDMSG.unpack_from(body)
    found = _attributes(body, NDMSG.size)
    kept = b"".join(attribute(number, found[number]) for number in (NDA_DST, NDA_LLADDR, NDA_PROTOCOL) if number in found)
    return NDMSG.pack(family, index, state, flags, kind) + kept
