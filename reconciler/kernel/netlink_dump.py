"""Dumps of rtnetlink(7) as the plain values of `state.snapshot`: links, addresses, routes, neighbors, forwarding databases.

Called by `snapshot`. A library needs 1.5 s for what the kernel tells in 100 ms about a thousand containers; this reads the
few attributes that some kind looks at, and passes over the rest. Whatever cannot be understood raises NetlinkError, for an
unread fact must never look like an absent one. The cost grows with the number of objects: about 15 µs each.
"""

from __future__ import annotations

import errno
import socket
import struct

from reconciler.kernel.netlink import NetlinkError, RouteSocket, attribute, parse_attributes, parse_text
from reconciler.kernel.netlink_encode import (
    AF_BRIDGE,
    IFA_ADDRESS,
    IFA_FLAGS,
    IFA_LOCAL,
    IFADDRMSG,
    IFF_UP,
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_ALT_IFNAME,
    IFLA_EXT_MASK,
    IFLA_GROUP,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_PROP_LIST,
    NDA_DST,
    NDA_LLADDR,
    NDA_PROTOCOL,
    NDMSG,
    NTF_PROXY,
    NUD_NOARP,
    NUD_PERMANENT,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTMSG,
    RTN_UNICAST,
    U32,
)
from reconciler.kernel.netlink_options import BY_KIND, LOWER_DEVICE, PORT_TABLES, Options, parse_options
from reconciler.state.snapshot import AddressInfo, FdbInfo, LinkInfo, NeighborInfo, RouteInfo

IFLA_INET6_CONF = 2
DEVCONF_DISABLE_IPV6 = 26  # of the numbers in IFLA_INET6_CONF (linux/ipv6.h)
IFLA_BRPORT_STATE, BR_STATE_FORWARDING = 1, 3
IFF_LOWER_UP = 0x10000
IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x40, 0x08
IP6_RT_PRIO_USER = 1024  # linux/ipv6_route.h: the metric of an IPv6 route that is given none
LINK_KINDS = frozenset((*BY_KIND, "veth"))
RTM_F_CLONED = 0x200

_s32 = struct.Struct("=i")


def read_links(route_socket: RouteSocket) -> dict[int, LinkInfo]:
    """All links of the namespace, by interface number."""
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    links = [parse_link(data) for kind, data in route_socket.dump(RTM_GETLINK, body) if kind == RTM_NEWLINK]
    names = {link.index: link.name for link in links}
    return {link.index: _name_lower_device(link, names) for link in links}


def _name_lower_device(link: LinkInfo, names: dict[int, str]) -> LinkInfo:
    """The link, its option that names the link below filled in: the dump has its number only."""
    option = LOWER_DEVICE.get(link.kind)
    if option is None or link.peer not in names:
        return link
    options = tuple(sorted((*link.options, (option, names[link.peer]))))
    return LinkInfo(
        link.index, link.name, link.kind, link.mac, link.mtu, link.group, link.up, link.master, link.peer, link.alias,
        link.altnames, link.link_local, link.ipv6, options, link.port_options,
    )  # fmt: skip


def parse_link(data: memoryview) -> LinkInfo:
    """One RTM_NEWLINK. A link that has no IPv6 at all (an MTU below 1280) makes no link-local address."""
    if len(data) < IFINFOMSG.size:
        raise NetlinkError("a link in the kernel's answer is cut off")
    _, _, index, flags, _ = IFINFOMSG.unpack_from(data)
    name = kind = mac = alias = ""
    mtu = group = master = peer = 0
    altnames: tuple[str, ...] = ()
    link_local = ipv6 = False
    options: Options = ()
    port_options: Options = ()
    for number, value in parse_attributes(data, IFINFOMSG.size):
        if number == IFLA_IFNAME:
            name = parse_text(value)
        elif number == IFLA_ADDRESS:
            mac = bytes(value).hex(":")
        elif number == IFLA_MTU:
            mtu = parse_u32(value)
        elif number == IFLA_GROUP:
            group = parse_u32(value)
        elif number == IFLA_MASTER:
            master = parse_u32(value)
        elif number == IFLA_LINK:
            peer = parse_u32(value)
        elif number == IFLA_IFALIAS:
            alias = parse_text(value)
        elif number == IFLA_PROP_LIST:
            altnames = tuple(parse_text(one) for sort, one in parse_attributes(value) if sort == IFLA_ALT_IFNAME)
        elif number == IFLA_AF_SPEC:
            link_local, ipv6 = parse_ipv6(value)
        elif number == IFLA_LINKINFO:
            kind, options, port_options = parse_link_info(value)
    return LinkInfo(
        index, name, kind, mac, mtu, group, bool(flags & IFF_UP), master, peer, alias,
        altnames, link_local, ipv6, options, port_options,
    )  # fmt: skip


def parse_ipv6(af_spec: memoryview) -> tuple[bool, bool]:
    """Whether the kernel makes a link-local address, and whether IPv6 is on."""
    link_local = ipv6 = False
    for family, values in parse_attributes(af_spec):
        if family != socket.AF_INET6:
            continue
        for number, value in parse_attributes(values):
            if number == IFLA_INET6_ADDR_GEN_MODE:
                link_local = value[0] != 1 if value else False
            elif number == IFLA_INET6_CONF and len(value) >= 4 * (DEVCONF_DISABLE_IPV6 + 1):
                ipv6 = _s32.unpack_from(value, 4 * DEVCONF_DISABLE_IPV6)[0] == 0
    return link_local, ipv6


def parse_link_info(data: memoryview) -> tuple[str, Options, Options]:
    """The kind of a link, its options, and those it has as a bridge port."""
    kind = port_kind = ""
    options: Options = ()
    port_options: Options = ()
    for number, value in parse_attributes(data):
        if number == IFLA_INFO_KIND:
            kind = parse_text(value)
        elif number == IFLA_INFO_DATA and kind in BY_KIND:
            options = parse_options(BY_KIND[kind], value)
        elif number == IFLA_INFO_SLAVE_KIND:
            port_kind = parse_text(value)
        elif number == IFLA_INFO_SLAVE_DATA and port_kind == "bridge":
            port_options = parse_options(PORT_TABLES, value)
    return kind, options, port_options


def read_addresses(route_socket: RouteSocket) -> tuple[AddressInfo, ...]:
    """All addresses of both families."""
    found = route_socket.dump(RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0))
    return tuple(parse_address(data) for kind, data in found if kind == RTM_NEWADDR)


def parse_address(data: memoryview) -> AddressInfo:
    """One RTM_NEWADDR. IFA_LOCAL is the address itself; IPv6 has it in IFA_ADDRESS."""
    if len(data) < IFADDRMSG.size:
        raise NetlinkError("an address in the kernel's answer is cut off")
    family, length, flags, scope, index = IFADDRMSG.unpack_from(data)
    local = general = ""
    for number, value in parse_attributes(data, IFADDRMSG.size):
        if number == IFA_LOCAL:
            local = parse_ip(family, value)
        elif number == IFA_ADDRESS:
            general = parse_ip(family, value)
        elif number == IFA_FLAGS:
            flags = parse_u32(value)
    if not (local or general):
        raise NetlinkError("an address in the kernel's answer says none")
    return AddressInfo(index, f"{local or general}/{length}", flags, scope)


def read_routes(route_socket: RouteSocket) -> tuple[RouteInfo, ...]:
    """The unicast routes of the main table, of both families."""
    routes: list[RouteInfo] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, RTN_UNICAST, 0)
        try:
            found = route_socket.dump(RTM_GETROUTE, body)
        except NetlinkError as error:
            # In a young namespace there may be no main table yet; a kernel without IPv6 has no such family.
            if error.number not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            continue
        for kind, data in found:
            if kind == RTM_NEWROUTE:
                route = parse_route(data)
                if route:
                    routes.append(route)
    return tuple(routes)


def parse_route(data: memoryview) -> RouteInfo | None:
    """One RTM_NEWROUTE; None for what is no unicast route of the main table (cached and multicast routes among them).

    A route over several next hops is given with interface 0. An IPv6 route's usual metric, 1024, is given as 0, which is
    how one asks for it.
    """
    if len(data) < RTMSG.size:
        raise NetlinkError("a route in the kernel's answer is cut off")
    family, length, _, _, table, protocol, scope, sort, flags = RTMSG.unpack_from(data)
    if table != RT_TABLE_MAIN or sort != RTN_UNICAST or flags & RTM_F_CLONED:
        return None
    dst = via = src = ""
    index = metric = 0
    for number, value in parse_attributes(data, RTMSG.size):
        if number == RTA_DST:
            dst = parse_ip(family, value)
        elif number == RTA_OIF:
            index = parse_u32(value)
        elif number == RTA_GATEWAY:
            via = parse_ip(family, value)
        elif number == RTA_PREFSRC:
            src = parse_ip(family, value)
        elif number == RTA_PRIORITY:
            metric = parse_u32(value)
    if family == socket.AF_INET6 and metric == IP6_RT_PRIO_USER:
        metric = 0
    where = f"{dst}/{length}" if dst else "default"
    return RouteInfo(4 if family == socket.AF_INET else 6, where, index, via, src, metric, protocol, scope)


def read_neighbors(route_socket: RouteSocket, proxies: bool = True) -> tuple[NeighborInfo, ...]:
    """The neighbor entries of both families, and those that the kernel answers for, where `proxies` asks for them too."""
    found: list[NeighborInfo] = []
    for flags in (0, NTF_PROXY) if proxies else (0,):
        for kind, data in route_socket.dump(RTM_GETNEIGH, NDMSG.pack(0, 0, 0, flags, 0)):
            if kind == RTM_NEWNEIGH:
                neighbor = parse_neighbor(data)
                if neighbor:
                    found.append(neighbor)
    return tuple(found)


def parse_neighbor(data: memoryview) -> NeighborInfo | None:
    """One RTM_NEWNEIGH of IPv4 or IPv6; None for what the kernel keeps for itself (multicast and loopback: NUD_NOARP)."""
    if len(data) < NDMSG.size:
        raise NetlinkError("a neighbor in the kernel's answer is cut off")
    family, index, state, flags, _ = NDMSG.unpack_from(data)
    if family not in (socket.AF_INET, socket.AF_INET6) or state & NUD_NOARP:
        return None
    address = mac = ""
    protocol = 0
    for number, value in parse_attributes(data, NDMSG.size):
        if number == NDA_DST:
            address = parse_ip(family, value)
        elif number == NDA_LLADDR:
            mac = bytes(value).hex(":")
        elif number == NDA_PROTOCOL and len(value) == 1:
            protocol = value[0]
    return NeighborInfo(index, address, mac, state, protocol, bool(flags & NTF_PROXY))


def read_fdb(route_socket: RouteSocket) -> tuple[FdbInfo, ...]:
    """The static entries of VXLANs (with their VTEP) and of bridge ports."""
    found = route_socket.dump(RTM_GETNEIGH, NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0))
    entries = (parse_fdb(data) for kind, data in found if kind == RTM_NEWNEIGH)
    return tuple(entry for entry in entries if entry)


def parse_fdb(data: memoryview) -> FdbInfo | None:
    """One RTM_NEWNEIGH of AF_BRIDGE; None for addresses that are a link's own and for what was learnt."""
    if len(data) < NDMSG.size:
        raise NetlinkError("a forwarding entry in the kernel's answer is cut off")
    _, index, state, _, _ = NDMSG.unpack_from(data)
    mac = remote = ""
    for number, value in parse_attributes(data, NDMSG.size):
        if number == NDA_LLADDR:
            mac = bytes(value).hex(":")
        elif number == NDA_DST:
            remote = parse_ip(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)
    is_static = state & (NUD_PERMANENT | NUD_NOARP) if remote else state & NUD_NOARP
    return FdbInfo(index, mac, remote, state) if is_static else None


def read_unready(route_socket: RouteSocket, group: int) -> tuple[str, ...]:
    """What of our links does not pass packets yet: ports with a carrier that do not forward, addresses under DAD."""
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    waiting = [name for _, data in route_socket.dump(RTM_GETLINK, body) if (name := parse_unready_port(data, group))]
    for address in read_addresses(route_socket):
        if address.flags & IFA_F_TENTATIVE and not address.flags & IFA_F_DADFAILED:
            waiting.append(address.cidr)
    return tuple(waiting)


def parse_unready_port(data: memoryview, group: int) -> str:
    """The name of a bridge port of the group that has a carrier and does not forward; "" for any other link."""
    if len(data) < IFINFOMSG.size:
        raise NetlinkError("a port in the kernel's answer is cut off")
    _, _, _, flags, _ = IFINFOMSG.unpack_from(data)
    name, own_group, state = "", 0, BR_STATE_FORWARDING
    for number, value in parse_attributes(data, IFINFOMSG.size):
        if number == IFLA_IFNAME:
            name = parse_text(value)
        elif number == IFLA_GROUP:
            own_group = parse_u32(value)
        elif number == IFLA_LINKINFO:
            for sort, inner in parse_attributes(value):
                if sort == IFLA_INFO_SLAVE_DATA:
                    state = next((one[0] for kind, one in parse_attributes(inner) if kind == IFLA_BRPORT_STATE and one), state)
    is_waiting = own_group == group and flags & IFF_UP and flags & IFF_LOWER_UP and state != BR_STATE_FORWARDING
    return name if is_waiting else ""


def parse_u32(value: memoryview) -> int:
    """A number of four bytes."""
    if len(value) != 4:
        raise NetlinkError("a number in the kernel's answer has the wrong size")
    number: int = U32.unpack(value)[0]
    return number


def parse_ip(family: int, value: memoryview) -> str:
    """An address in its usual form."""
    try:
        return socket.inet_ntop(family, value)
    except (OSError, ValueError) as error:
        raise NetlinkError("an address in the kernel's answer has the wrong size") from error
