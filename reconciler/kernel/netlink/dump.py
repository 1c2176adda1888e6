"""Dumps of rtnetlink(7) as the plain values of `state.snapshot`: links, addresses, routes, rates (see `neighbors`).

For a thousand containers, the kernel needs 100 ms and a library 1.5 s. This module reads the few attributes that some
kind uses, and skips the rest. Any malformed data raise NetlinkError, because an unread fact must never look like an
absent one. The cost grows with the number of objects: about 15 µs each.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Mapping
from dataclasses import replace

from reconciler.kernel.netlink.encode import (
    ADDR_GEN_NONE,
    IFA_ADDRESS,
    IFA_FLAGS,
    IFA_LOCAL,
    IFADDRMSG,
    IFF_NOARP,
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
    QDISC_HANDLE,
    RATESPEC,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETQDISC,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWQDISC,
    RTM_NEWROUTE,
    RTMSG,
    RTN_UNICAST,
    TCA_KIND,
    TCA_OPTIONS,
    TCA_TBF_PARMS,
    TCA_TBF_RATE64,
    TCMSG,
    U32,
    encode_loopback_get,
)
from reconciler.kernel.netlink.options import BY_KIND, LOWER_DEVICE, PORT_TABLES, parse_options
from reconciler.kernel.netlink.rtnetlink import (
    NetlinkError,
    RouteSocket,
    attribute,
    find_attributes,
    ip_of,
    mac_of,
    message,
    parse_attributes,
    parse_ip,
    parse_text,
    parse_u32,
    text_of,
    u32_of,
)
from reconciler.kinds.links.base import Options
from reconciler.state.snapshot import AddressInfo, LinkInfo, RateInfo, RouteInfo
from reconciler.state.steps.addresses import ROUTE_TYPES

IFLA_INET6_CONF = 2
IFLA_QDISC = 6
IFLA_LINK_NETNSID = 37
RTM_GETNSID, NETNSA_NSID, NETNSA_FD = 90, 1, 3  # linux/rtnetlink.h, net_namespace.h
DEVCONF_ACCEPT_RA, DEVCONF_DISABLE_IPV6 = 3, 26  # of the numbers in IFLA_INET6_CONF (linux/ipv6.h)
IFLA_BRPORT_STATE, BR_STATE_FORWARDING = 1, 3
IFLA_PROMISCUITY = 30  # linux/if_link.h: the number of users that made it promiscuous
IFF_LOWER_UP = 0x10000
IFLA_OPERSTATE, OPERATIONAL = 16, (0, 6)  # linux/if_link.h; IF_OPER_UNKNOWN, IF_OPER_UP of linux/if.h
USER_HZ = 100  # asm-generic/param.h: the kernel's unit for the times of a bridge, per second
IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x40, 0x08
IP6_RT_PRIO_USER = 1024  # linux/ipv6_route.h: the default metric of an IPv6 route
RTM_F_CLONED = 0x200
LINK_ATTRIBUTES = frozenset(
    (
        *(IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_GROUP, IFLA_IFALIAS),
        *(IFLA_QDISC, IFLA_LINK_NETNSID, IFLA_OPERSTATE),
        *(IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_PROP_LIST, IFLA_PROMISCUITY),
    )
)
INFO_ATTRIBUTES = frozenset((IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA))
INET6_ATTRIBUTES = frozenset((IFLA_INET6_CONF, IFLA_INET6_ADDR_GEN_MODE))
ADDRESS_ATTRIBUTES = frozenset((IFA_LOCAL, IFA_ADDRESS, IFA_FLAGS))
RTA_MULTIPATH, RTA_VIA, RTA_ENCAP = 9, 18, 22  # linux/rtnetlink.h
ROUTE_FORMS = {RTA_NH_ID: "nexthop object", RTA_MULTIPATH: "multipath", RTA_VIA: "of another family", RTA_ENCAP: "encapsulated"}
"""Forms of a route other than the plain one."""
NEXTHOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, interface
ROUTE_ATTRIBUTES = frozenset((RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_PRIORITY, *ROUTE_FORMS))

LOOPBACK_ONLY = (RTM_GETLINK, b"lo")
"""The key of the loopback in the memory of dumps, which is no dump."""
_s32 = struct.Struct("=i")


def read_links(route_socket: RouteSocket) -> dict[int, LinkInfo]:
    """All links of the namespace, by interface number."""
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    return route_socket.read((RTM_GETLINK, body), RTM_NEWLINK, parse_link, name_lower_devices, is_same_link)


def is_same_link(one: LinkInfo, other: LinkInfo) -> bool:
    """Whether two readings of a link are equal in all that is read; the comparison of links leaves out `settings`."""
    return one == other and one.settings == other.settings


def read_loopback(route_socket: RouteSocket) -> dict[int, LinkInfo]:
    """The loopback alone, by its interface number; its alias names the owner of a container's namespace."""
    return route_socket.read_object(LOOPBACK_ONLY, encode_loopback_get(), parse_link, _by_number, is_same_link)


def _by_number(links: list[LinkInfo]) -> dict[int, LinkInfo]:
    return {link.index: link for link in links}


def read_netnsid(route_socket: RouteSocket, descriptor: int) -> int:
    """The number of another namespace, given by an open file, in the socket's namespace; negative for none."""
    body = bytes(4) + attribute(NETNSA_FD, U32.pack(descriptor))
    data = route_socket.get(message(RTM_GETNSID, 0, body))
    found = find_attributes(data, 4, (NETNSA_NSID,)) if data is not None else {}
    return int(_s32.unpack(found[NETNSA_NSID])[0]) if len(found.get(NETNSA_NSID, b"")) == 4 else -1


def name_lower_devices(links: list[LinkInfo]) -> dict[int, LinkInfo]:
    """The links by number, with the names of the links below them."""
    names = {link.index: link.name for link in links}
    return {link.index: _name_lower_device(link, names) for link in links}


def _name_lower_device(link: LinkInfo, names: dict[int, str]) -> LinkInfo:
    """The link with the name of the link below in its option: the dump has only the number."""
    option = LOWER_DEVICE.get(link.kind)
    if option is None:
        return link
    number = int(dict(link.options).get(option, link.peer))
    named = ((option, names[number]),) if number in names else ()
    return replace(link, options=tuple(sorted((*(one for one in link.options if one[0] != option), *named))))


def parse_link(data: memoryview) -> LinkInfo:
    """One RTM_NEWLINK. A link without IPv6 (an MTU below 1280) creates no link-local address."""
    if len(data) < IFINFOMSG.size:
        raise NetlinkError("a link in the kernel's answer is truncated")
    _, _, index, flags, _ = IFINFOMSG.unpack_from(data)
    found = find_attributes(data, IFINFOMSG.size, LINK_ATTRIBUTES)
    kind, options, port_options = parse_link_info(found[IFLA_LINKINFO]) if IFLA_LINKINFO in found else ("", (), ())
    inet6, settings = parse_families(found[IFLA_AF_SPEC]) if IFLA_AF_SPEC in found else (None, b"")
    altnames = parse_attributes(found[IFLA_PROP_LIST]) if IFLA_PROP_LIST in found else ()
    return LinkInfo(
        index=index,
        name=text_of(found, IFLA_IFNAME),
        kind=kind,
        mac=mac_of(found, IFLA_ADDRESS),
        mtu=u32_of(found, IFLA_MTU),
        group=u32_of(found, IFLA_GROUP),
        up=bool(flags & IFF_UP),
        master=u32_of(found, IFLA_MASTER),
        peer=u32_of(found, IFLA_LINK),
        local_peer=IFLA_LINK_NETNSID not in found,
        peer_netnsid=_s32.unpack(found[IFLA_LINK_NETNSID])[0] if len(found.get(IFLA_LINK_NETNSID, b"")) == 4 else 0,
        alias=text_of(found, IFLA_IFALIAS),
        altnames=tuple(parse_text(value) for number, value in altnames if number == IFLA_ALT_IFNAME),
        link_local=inet6 is not None and inet6[0],
        ipv6=inet6 is not None and inet6[1],
        accept_ra=inet6[2] if inet6 else 0,
        has_ipv6=inet6 is not None,
        options=options,
        qdisc=text_of(found, IFLA_QDISC),
        port_options=port_options,
        arp=not flags & IFF_NOARP,
        operational=IFLA_OPERSTATE not in found or found[IFLA_OPERSTATE][0] in OPERATIONAL,
        is_promiscuous=u32_of(found, IFLA_PROMISCUITY) > 0,
        settings=settings,
    )


def parse_families(af_spec: memoryview) -> tuple[tuple[bool, bool, int] | None, bytes]:
    """The kernel's IPv6 behaviour on a link, None without IPv6; and the raw settings of IPv4 and IPv6.

    The behaviour: whether it creates a link-local address, whether IPv6 is on, and its accept_ra.
    """
    families = find_attributes(af_spec, 0, (socket.AF_INET, socket.AF_INET6))
    ipv4, inet6 = bytes(families.get(socket.AF_INET, b"")), families.get(socket.AF_INET6)
    if inet6 is None:
        return None, ipv4
    found = find_attributes(inet6, 0, INET6_ATTRIBUTES)
    mode, conf = found.get(IFLA_INET6_ADDR_GEN_MODE), found.get(IFLA_INET6_CONF)
    if not mode or conf is None or len(conf) < 4 * (DEVCONF_DISABLE_IPV6 + 1):
        raise NetlinkError("the IPv6 part of a link in the kernel's answer is truncated")
    accept_ra, disabled = (_s32.unpack_from(conf, 4 * number)[0] for number in (DEVCONF_ACCEPT_RA, DEVCONF_DISABLE_IPV6))
    return (mode[0] != ADDR_GEN_NONE, disabled == 0, accept_ra), ipv4 + bytes(conf)


def parse_link_info(data: memoryview) -> tuple[str, Options, Options]:
    """The kind of a link, its options, and its options as a bridge port."""
    found = find_attributes(data, 0, INFO_ATTRIBUTES)
    kind = text_of(found, IFLA_INFO_KIND)
    options: Options = ()
    port_options: Options = ()
    if kind in BY_KIND and IFLA_INFO_DATA in found:
        options = parse_options(BY_KIND[kind], found[IFLA_INFO_DATA])
    if text_of(found, IFLA_INFO_SLAVE_KIND) == "bridge" and IFLA_INFO_SLAVE_DATA in found:
        port_options = parse_options(PORT_TABLES, found[IFLA_INFO_SLAVE_DATA])
    return kind, options, port_options


def read_addresses(route_socket: RouteSocket) -> tuple[AddressInfo, ...]:
    """All addresses of both families."""
    return route_socket.read((RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0)), RTM_NEWADDR, parse_address, tuple)


def parse_address(data: memoryview) -> AddressInfo:
    """One RTM_NEWADDR. IFA_LOCAL is the address itself, and IFA_ADDRESS its peer; IPv6 without a peer has only the latter."""
    if len(data) < IFADDRMSG.size:
        raise NetlinkError("an address in the kernel's answer is truncated")
    family, length, flags, scope, index = IFADDRMSG.unpack_from(data)
    found = find_attributes(data, IFADDRMSG.size, ADDRESS_ATTRIBUTES)
    address = found.get(IFA_LOCAL, found.get(IFA_ADDRESS))
    if address is None:
        raise NetlinkError("an address in the kernel's answer has no value")
    flags = parse_u32(found[IFA_FLAGS]) if IFA_FLAGS in found else flags
    own, peer = parse_ip(family, address), ip_of(family, found, IFA_ADDRESS)
    return AddressInfo(index, f"{own}/{length}", flags, scope, peer if peer != own else "")


def read_routes(route_socket: RouteSocket, ipv6: bool = True, every_type: bool = False) -> tuple[RouteInfo, ...]:
    """The unicast routes of the main table, of both families; with `every_type` also those without a next hop (blackholes …).

    Without `ipv6` it does not request those of IPv6: for a namespace whose links all have it off, so that the kernel
    accepts none.
    """
    routes: tuple[RouteInfo, ...] = ()
    for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
        body = RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)
        try:
            found = route_socket.read((RTM_GETROUTE, body), RTM_NEWROUTE, parse_route, tuple)
        except NetlinkError as error:
            # A new namespace may have no main table yet; a kernel without IPv6 has no such family.
            if error.number not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            continue
        routes = (*routes, *found) if routes else found
    return routes if every_type else tuple(route for route in routes if route.form not in ROUTE_TYPES[RTN_UNICAST + 1 :])


def parse_route(data: memoryview) -> RouteInfo | None:
    """One RTM_NEWROUTE; None for routes outside of the main table, cached ones, and those for a part of the packets.

    The latter have a type of service (IPv4) or a source (IPv6): they exist next to a route for all packets. A route
    over several next hops has the first of them. An IPv6 route's default metric, 1024, is given as 0, which requests
    it.
    """
    if len(data) < RTMSG.size:
        raise NetlinkError("a route in the kernel's answer is truncated")
    family, length, source_length, tos, table, protocol, scope, sort, flags = RTMSG.unpack_from(data)
    if table != RT_TABLE_MAIN or flags & RTM_F_CLONED or tos or source_length:
        return None
    found = find_attributes(data, RTMSG.size, ROUTE_ATTRIBUTES)
    metric = u32_of(found, RTA_PRIORITY)
    if family == socket.AF_INET6 and metric == IP6_RT_PRIO_USER:
        metric = 0
    hop, index = found, u32_of(found, RTA_OIF)
    if hops := found.get(RTA_MULTIPATH):
        length_of_first, _, _, index = NEXTHOP.unpack_from(hops)
        hop = find_attributes(hops[:length_of_first], NEXTHOP.size, ROUTE_ATTRIBUTES)
    return RouteInfo(
        family=4 if family == socket.AF_INET else 6,
        dst=f"{parse_ip(family, found[RTA_DST])}/{length}" if RTA_DST in found else "default",
        index=index,
        via=ip_of(family, hop, RTA_GATEWAY),
        src=ip_of(family, found, RTA_PREFSRC),
        metric=metric,
        protocol=protocol,
        scope=scope,
        form=_form_of(sort, found),
        nexthop=u32_of(found, RTA_NH_ID),
    )


def _form_of(sort: int, found: Mapping[int, memoryview]) -> str:
    """A word or two for the form of a route that is not plain."""
    if sort >= len(ROUTE_TYPES):
        return f"type {sort}"
    # A dump shows one with a dropping nexthop object as a blackhole, but a deletion must not treat it so.
    form = next((form for number, form in ROUTE_FORMS.items() if number in found), "")
    return form if RTA_NH_ID in found else ROUTE_TYPES[sort] or form


def read_rates(route_socket: RouteSocket) -> tuple[RateInfo, ...]:
    """The token buckets of netctl."""
    return route_socket.read((RTM_GETQDISC, TCMSG.pack(0, 0, 0, 0, 0)), RTM_NEWQDISC, parse_rate, tuple)


def parse_rate(data: memoryview) -> RateInfo | None:
    """One RTM_NEWQDISC; None for a foreign one."""
    if len(data) < TCMSG.size:
        raise NetlinkError("a queue in the kernel's answer is truncated")
    _, index, handle, _, _ = TCMSG.unpack_from(data)
    found = find_attributes(data, TCMSG.size, (TCA_KIND, TCA_OPTIONS))
    if handle != QDISC_HANDLE or text_of(found, TCA_KIND) != "tbf" or TCA_OPTIONS not in found:
        return None
    options = find_attributes(found[TCA_OPTIONS], 0, (TCA_TBF_PARMS, TCA_TBF_RATE64))
    if len(options.get(TCA_TBF_PARMS, b"")) < RATESPEC.size:
        raise NetlinkError("a rate in the kernel's answer is truncated")
    rate = RATESPEC.unpack_from(options[TCA_TBF_PARMS])[5]
    if TCA_TBF_RATE64 in options:
        rate = struct.unpack("=Q", options[TCA_TBF_RATE64])[0]
    return RateInfo(index, rate)


def read_unready(route_socket: RouteSocket, group: int) -> tuple[str, ...]:
    """Owned links that do not pass packets yet: ports with a carrier that do not forward, addresses under DAD.

    A port of a bridge that is down never forwards. The worker that sets the bridge up waits for its ports.
    """
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    links = [data for _, data in route_socket.dump(RTM_GETLINK, body)]
    ports = [port for data in links if (port := parse_unready_port(data, group))]
    up = {index for data in links for _, _, index, flags, _ in (IFINFOMSG.unpack_from(data),) if flags & IFF_UP} if ports else ()
    waiting = [name for name, bridge in ports if bridge in up]
    addresses = read_addresses(route_socket)
    return (*waiting, *(one.cidr for one in addresses if one.flags & IFA_F_TENTATIVE and not one.flags & IFA_F_DADFAILED))


def read_stp_delays(route_socket: RouteSocket, ports: Collection[str]) -> dict[str, float]:
    """The bridges of these ports that run STP, and the seconds for which each blocks a new port: twice its forward_delay."""
    links = read_links(route_socket)
    masters = {links[link.master] for link in links.values() if link.name in ports and link.master in links}
    options = {master.name: dict(master.options) for master in masters}
    return {name: 2 * int(held["forward_delay"]) / USER_HZ for name, held in options.items() if held.get("stp_state", "0") != "0"}


def parse_unready_port(data: memoryview, group: int) -> tuple[str, int] | None:
    """Name and bridge of a port of the group that has a carrier and does not forward; None for any other link."""
    if len(data) < IFINFOMSG.size:
        raise NetlinkError("a port in the kernel's answer is truncated")
    _, _, _, flags, _ = IFINFOMSG.unpack_from(data)
    found = find_attributes(data, IFINFOMSG.size, LINK_ATTRIBUTES)
    info = find_attributes(found[IFLA_LINKINFO], 0, INFO_ATTRIBUTES) if IFLA_LINKINFO in found else {}
    port = find_attributes(info[IFLA_INFO_SLAVE_DATA], 0, (IFLA_BRPORT_STATE,)) if IFLA_INFO_SLAVE_DATA in info else {}
    state = port[IFLA_BRPORT_STATE][0] if port.get(IFLA_BRPORT_STATE) else BR_STATE_FORWARDING
    has_carrier = flags & IFF_UP and flags & IFF_LOWER_UP
    is_waiting = has_carrier and state != BR_STATE_FORWARDING and u32_of(found, IFLA_GROUP) == group
    return (text_of(found, IFLA_IFNAME), u32_of(found, IFLA_MASTER)) if is_waiting else None
