"""Netlink steps as messages of rtnetlink(7): one encoder per kind of step, pure except for the numbers that it looks up.

Links are given by name if the kernel accepts one (RTM_NEWLINK, RTM_DELLINK, RTM_NEWLINKPROP), so that one send can hold
a thousand of them. Addresses, routes and neighbors need an interface number, which `Surroundings` looks up. Numbers are
from linux/if_link.h, if_addr.h, rtnetlink.h and neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Interface, ip_address, ip_interface, ip_network
from typing import Any, Protocol

from reconciler.kernel.netlink.options import BY_KIND, LOWER_DEVICE, PORT_TABLES, encode_options
from reconciler.kernel.netlink.rtnetlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attribute, message
from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.steps.addresses import (
    ROUTE_TYPES,
    AddressAdd,
    AddressDelete,
    FdbAdd,
    FdbDelete,
    NeighborAdd,
    NeighborDelete,
    PeerAddressDelete,
    RouteAdd,
    RouteDelete,
    StrayRouteAdd,
    StrayRouteDelete,
)
from reconciler.state.steps.links import (
    FREE_NAME,
    AltnameAdd,
    AltnameDelete,
    BridgePortSet,
    LinkAdd,
    LinkDelete,
    LinkRename,
    LinkSet,
    Peer,
    QdiscDelete,
    QdiscSet,
)
from reconciler.state.steps.step import Step
from reconciler.state.uapi import LOOPBACK, NUD_NOARP, NUD_PERMANENT, SCOPE_LINK

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 20, 26, 27, 28, 29
IFLA_PROP_LIST, IFLA_ALT_IFNAME = 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER = 1
IFLA_INET6_ADDR_GEN_MODE = 8
ADDR_GEN_EUI64, ADDR_GEN_NONE = 0, 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_NOPREFIXROUTE = 0x02, 0x200
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE, RTA_NH_ID = 1, 4, 5, 6, 7, 15, 30
NDA_DST, NDA_LLADDR, NDA_PROTOCOL = 1, 2, 12
NTF_SELF, NTF_MASTER, NTF_PROXY, NTF_STICKY = 0x02, 0x04, 0x08, 0x40
NLA_F_NESTED = 0x8000
IFF_UP, IFF_NOARP = 1, 0x80
AF_BRIDGE = 7
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
LOOPBACK_NAME = "lo"
SCOPE_UNIVERSE, SCOPE_HOST, SCOPE_NOWHERE = 0, 254, 255
RTEXT_FILTER_SKIP_STATS = 8

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=8BI")  # family, dst length, src length, tos, table, protocol, scope, type, flags
NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
U32 = struct.Struct("=I")
TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
RATESPEC = struct.Struct("=BBHhHI")  # tc_ratespec: cell log, link layer, overhead, cell align, mpu, rate
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TC_H_ROOT, TC_LINKLAYER_ETHERNET = 0xFFFFFFFF, 1
QDISC_HANDLE = 0x4E430000
"""`4e43:`, NC: it marks a rate limit as netctl's."""

NEW = NLM_F_CREATE | NLM_F_EXCL


class Surroundings(Protocol):
    """Objects that a message names by a number: links of the step's namespace, and other namespaces."""

    def index(self, name: str) -> int:
        """The interface number of a link in the namespace of the step; 0 is never one."""

    def descriptor(self, netns: str) -> int:
        """An open descriptor of a namespace; it must stay open until the message is sent."""


def encode(step: Step, around: Surroundings) -> bytearray:
    """The message of a step. ValueError if a value cannot be encoded; exceptions of `around` pass through."""
    return ENCODERS[type(step)](step, around)


# --- links ------------------------------------------------------------------------------------------------------------


def _u32(number: int, value: int) -> bytes:
    return attribute(number, U32.pack(value))


def _text(number: int, value: str) -> bytes:
    return attribute(number, value.encode() + b"\0")


def _mac(value: str) -> bytes:
    data = bytes.fromhex(value.replace(":", ""))
    if len(data) != 6:
        raise ValueError(f"{value!r} is not a hardware address")
    return data


def _link_basics(mac: str, mtu: int) -> bytes:
    """Address and MTU, if they are given."""
    return (attribute(IFLA_ADDRESS, _mac(mac)) if mac else b"") + (_u32(IFLA_MTU, mtu) if mtu else b"")


def _encode_link_add(step: LinkAdd, around: Surroundings) -> bytearray:
    """All attributes that the kernel accepts in one message; group and master are set from the start, the alias cannot be."""
    flags = IFF_UP if step.up else 0
    name, peer_attributes = step.name, b""
    info = attribute(IFLA_INFO_KIND, step.kind.encode() + b"\0")
    tables = BY_KIND.get(step.kind, ({},))
    below = LOWER_DEVICE.get(step.kind, "")
    data = encode_options(tables, tuple(option for option in step.options if option[0] != below))
    if step.peer and step.kind == "veth":
        data += _encode_peer(step.peer, around)
    elif step.peer:  # a macvlan is created in another namespace than the link below it
        name, peer_attributes = step.peer.name, _u32(IFLA_NET_NS_FD, around.descriptor(step.peer.netns))
    if lower := dict(step.options).get(below):
        index = around.index(lower)
        if below in tables[0]:
            data += encode_options(tables, ((below, str(index)),))
        else:
            peer_attributes += _u32(IFLA_LINK, index)
    body = (
        IFINFOMSG.pack(0, 0, 0, flags, flags)
        + _text(IFLA_IFNAME, name)
        + _link_basics(step.mac, step.mtu)
        + _u32(IFLA_GROUP, step.group)
        + (_u32(IFLA_MASTER, around.index(step.master)) if step.master else b"")
        + peer_attributes
        + attribute(IFLA_LINKINFO, info + (attribute(IFLA_INFO_DATA, data) if data else b""))
    )
    return message(RTM_NEWLINK, NEW, body)


def _encode_peer(peer: Peer, around: Surroundings) -> bytes:
    """The remote end of a veth, under its final name in its own namespace: a move costs fifty times as much.

    It cannot be up yet.
    """
    return attribute(
        VETH_INFO_PEER,
        IFINFOMSG.pack(0, 0, 0, 0, 0)
        + _text(IFLA_IFNAME, peer.name)
        + _link_basics(peer.mac, peer.mtu)
        + _u32(IFLA_NET_NS_FD, around.descriptor(peer.netns)),
    )


def _encode_link_set(step: LinkSet, around: Surroundings) -> bytearray:
    flags = (IFF_UP if step.up else 0) | (IFF_NOARP if step.arp is False else 0)
    changed = (0 if step.up is None else IFF_UP) | (0 if step.arp is None else IFF_NOARP)
    is_loopback = step.name == LOOPBACK_NAME
    name = b"" if is_loopback else _text(IFLA_IFNAME, step.name)
    body = IFINFOMSG.pack(0, 0, LOOPBACK if is_loopback else 0, flags, changed) + name + _link_basics(step.mac, step.mtu or 0)
    if step.group is not None:
        body += _u32(IFLA_GROUP, step.group)
    if step.master:
        body += _u32(IFLA_MASTER, 0 if step.master == "-" else around.index(step.master))
    if step.alias is not None:
        body += attribute(IFLA_IFALIAS, step.alias.encode())
    if step.options:
        data = attribute(IFLA_INFO_DATA, encode_options(BY_KIND.get(step.kind, ({},)), step.options))
        body += attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, step.kind.encode() + b"\0") + data)
    if step.link_local is not None:
        mode = ADDR_GEN_EUI64 if step.link_local else ADDR_GEN_NONE
        body += attribute(IFLA_AF_SPEC, attribute(socket.AF_INET6, attribute(IFLA_INET6_ADDR_GEN_MODE, bytes((mode,)))))
    return message(RTM_NEWLINK, 0, body)


def _encode_altname_add(step: AltnameAdd, _: Surroundings) -> bytearray:
    names = attribute(IFLA_PROP_LIST | NLA_F_NESTED, _text(IFLA_ALT_IFNAME, step.altname))
    return message(RTM_NEWLINKPROP, NEW | NLM_F_APPEND, IFINFOMSG.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, step.name) + names)


def _encode_altname_delete(step: AltnameDelete, around: Surroundings) -> bytearray:
    names = attribute(IFLA_PROP_LIST | NLA_F_NESTED, _text(IFLA_ALT_IFNAME, step.altname))
    return message(RTM_DELLINKPROP, 0, IFINFOMSG.pack(0, 0, around.index(step.altname), 0, 0) + names)


def _encode_link_rename(step: LinkRename, around: Surroundings) -> bytearray:
    return message(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, around.index(step.name), 0, 0) + _text(IFLA_IFNAME, FREE_NAME))


def _encode_bridge_port_set(step: BridgePortSet, _: Surroundings) -> bytearray:
    """A message like that of `ip link set … type bridge_slave`: unlike bridge(8)'s own, it accepts a name."""
    info = attribute(IFLA_INFO_SLAVE_KIND, b"bridge\0")
    info += attribute(IFLA_INFO_SLAVE_DATA, encode_options(PORT_TABLES, step.options))
    return message(RTM_NEWLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, step.name) + attribute(IFLA_LINKINFO, info))


def _encode_link_delete(step: LinkDelete, _: Surroundings) -> bytearray:
    return message(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, step.name))


def encode_group_delete(group: int) -> bytearray:
    """Delete all links of a group: 0.6 ms each, while single deletions cost 16. ValueError for 0, the default group."""
    if not group:
        raise ValueError("group 0 is the default group of all links")
    return message(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + _u32(IFLA_GROUP, group))


def encode_loopback_up(alias: str = "") -> bytearray:
    """Set `lo` up, which is number 1 in every namespace, and set its alias."""
    body = IFINFOMSG.pack(0, 0, 1, IFF_UP, IFF_UP) + (attribute(IFLA_IFALIAS, alias.encode()) if alias else b"")
    return message(RTM_NEWLINK, 0, body)


def encode_link_get(name: str) -> bytearray:
    """Request one link by its name, or its altname."""
    skip = _u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    # IFLA_IFNAME holds 15 bytes, and the kernel looks for an altname by its own attribute only.
    number = IFLA_IFNAME if len(name.encode()) < 16 else IFLA_ALT_IFNAME
    return message(RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + skip + _text(number, name))


def encode_loopback_get() -> bytearray:
    """Request the loopback by its number, because it may have been renamed."""
    return message(RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, LOOPBACK, 0, 0) + _u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS))


# --- addresses, routes, neighbors -------------------------------------------------------------------------------------


def _encode_address(
    number: int, flags: int, step: AddressAdd | AddressDelete | PeerAddressDelete, around: Surroundings
) -> bytearray:
    interface = ip_interface(step.cidr)
    packed = interface.ip.packed
    is_ipv4 = isinstance(interface, IPv4Interface)
    length = interface.network.prefixlen
    scope = SCOPE_HOST if is_ipv4 and interface.is_loopback else SCOPE_UNIVERSE
    family = socket.AF_INET if is_ipv4 else socket.AF_INET6
    body = IFADDRMSG.pack(family, length, 0, scope, around.index(step.dev))
    peer = ip_address(step.peer).packed if isinstance(step, PeerAddressDelete) else packed
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, peer)
    if isinstance(step, AddressAdd):
        body += _u32(IFA_FLAGS, IFA_F_NOPREFIXROUTE | (0 if is_ipv4 else IFA_F_NODAD))
        if is_ipv4 and length < 31 and scope != SCOPE_HOST:
            body += attribute(IFA_BROADCAST, interface.network.broadcast_address.packed)
    return message(number, flags, body)


def _route_head(family: int, dst: str, protocol: int, scope: int, sort: int = RTN_UNICAST) -> bytes:
    """The head of every message of a route of the main table."""
    destination = None if dst == "default" else ip_network(dst)
    length = destination.prefixlen if destination else 0
    number = socket.AF_INET if family == 4 else socket.AF_INET6
    head = RTMSG.pack(number, length, 0, 0, RT_TABLE_MAIN, protocol, scope, sort, 0)
    return head + (attribute(RTA_DST, destination.network_address.packed) if destination else b"")


def _encode_route(number: int, flags: int, step: RouteAdd | RouteDelete, around: Surroundings) -> bytearray:
    """A deletion names netctl's protocol too: a foreign route of the same key stays."""
    scope = SCOPE_LINK if step.family == 4 and not step.via else SCOPE_UNIVERSE
    if number == RTM_DELROUTE:
        scope = SCOPE_NOWHERE
    body = _route_head(step.family, step.dst, ROUTE_PROTOCOL, scope) + _u32(RTA_OIF, around.index(step.dev))
    if step.via:
        body += attribute(RTA_GATEWAY, ip_address(step.via).packed)
    if step.metric:
        body += _u32(RTA_PRIORITY, step.metric)
    if step.src:
        body += attribute(RTA_PREFSRC, ip_address(step.src).packed)
    return message(number, flags, body)


def _encode_stray_route_add(step: StrayRouteAdd, around: Surroundings) -> bytearray:
    scope = SCOPE_LINK if step.family == 4 else SCOPE_UNIVERSE
    body = _route_head(step.family, step.dst, step.protocol, scope) + _u32(RTA_OIF, around.index(step.dev))
    return message(RTM_NEWROUTE, NEW, body + (_u32(RTA_PRIORITY, step.metric) if step.metric else b""))


def _encode_stray_route_delete(step: StrayRouteDelete, around: Surroundings) -> bytearray:
    """Destination, metric, protocol and type identify a route that is not plain: the kernel then compares no next hops."""
    body = _route_head(step.family, step.dst, step.protocol, SCOPE_NOWHERE, 0 if step.nexthop else _type_of(step.form))
    body += _u32(RTA_NH_ID, step.nexthop) if step.nexthop else b""
    if not step.form:
        body += _u32(RTA_OIF, around.index(step.dev))
        body += attribute(RTA_GATEWAY, ip_address(step.via).packed) if step.via else b""
    return message(RTM_DELROUTE, 0, body + (_u32(RTA_PRIORITY, step.metric) if step.metric else b""))


def _type_of(form: str) -> int:
    return ROUTE_TYPES.index(form) if form in ROUTE_TYPES[RTN_UNICAST + 1 :] else RTN_UNICAST


def _encode_neighbor(number: int, flags: int, step: NeighborAdd | NeighborDelete, around: Surroundings) -> bytearray:
    """Permanent entries only: the kernel's garbage collection keeps them, and it sends no ARP for them."""
    address = ip_address(step.address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = NDMSG.pack(family, around.index(step.dev), NUD_PERMANENT, NTF_PROXY if step.proxy else 0, 0)
    body += attribute(NDA_DST, address.packed)
    if isinstance(step, NeighborAdd):
        body += attribute(NDA_PROTOCOL, bytes((ROUTE_PROTOCOL,)))
        if step.mac:
            body += attribute(NDA_LLADDR, _mac(step.mac))
    return message(number, flags, body)


def _encode_fdb(number: int, flags: int, step: FdbAdd | FdbDelete, around: Surroundings) -> bytearray:
    """An entry of a tunnel is its own (`self`) and permanent; one of a bridge port is the bridge's (`master`), static and sticky.

    A permanent one at a bridge port would mean an address of the bridge itself.
    """
    owner, state = (NTF_SELF, NUD_PERMANENT) if step.remote else (NTF_MASTER | NTF_STICKY, NUD_NOARP)
    body = NDMSG.pack(AF_BRIDGE, around.index(step.dev), state, owner, 0) + attribute(NDA_LLADDR, _mac(step.mac))
    if step.remote:
        body += attribute(NDA_DST, ip_address(step.remote).packed)
    elif flags:
        flags = NLM_F_CREATE | NLM_F_REPLACE
    return message(number, flags, body)


# --- rate limits ------------------------------------------------------------------------------------------------------


def _encode_qdisc_set(step: QdiscSet, around: Surroundings) -> bytearray:
    """RATE64 and BURST are in bytes; the older fields next to them are in ticks, and have 32 bits."""
    rate = RATESPEC.pack(0, TC_LINKLAYER_ETHERNET, 0, -1, 0, min(step.rate_bytes, 0xFFFFFFFF))
    parms = rate + bytes(RATESPEC.size) + struct.pack("=III", min(step.limit_bytes, 0xFFFFFFFF), 0, 0)
    options = attribute(TCA_TBF_PARMS, parms) + _u32(TCA_TBF_BURST, step.burst_bytes)
    if step.rate_bytes > 0xFFFFFFFF:
        options += attribute(TCA_TBF_RATE64, struct.pack("=Q", step.rate_bytes))
    body = TCMSG.pack(0, around.index(step.dev), QDISC_HANDLE, TC_H_ROOT, 0)
    return message(
        RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body + attribute(TCA_KIND, b"tbf\0") + attribute(TCA_OPTIONS, options)
    )


def _encode_qdisc_delete(step: QdiscDelete, around: Surroundings) -> bytearray:
    return message(RTM_DELQDISC, 0, TCMSG.pack(0, around.index(step.dev), 0, TC_H_ROOT, 0))


ENCODERS: dict[type[Step], Callable[[Any, Surroundings], bytearray]] = {
    LinkAdd: _encode_link_add,
    LinkSet: _encode_link_set,
    AltnameAdd: _encode_altname_add,
    AltnameDelete: _encode_altname_delete,
    LinkRename: _encode_link_rename,
    BridgePortSet: _encode_bridge_port_set,
    LinkDelete: _encode_link_delete,
    QdiscSet: _encode_qdisc_set,
    QdiscDelete: _encode_qdisc_delete,
    AddressAdd: lambda step, around: _encode_address(RTM_NEWADDR, NEW, step, around),
    AddressDelete: lambda step, around: _encode_address(RTM_DELADDR, 0, step, around),
    RouteAdd: lambda step, around: _encode_route(RTM_NEWROUTE, NEW, step, around),
    PeerAddressDelete: lambda step, around: _encode_address(RTM_DELADDR, 0, step, around),
    StrayRouteAdd: _encode_stray_route_add,
    StrayRouteDelete: _encode_stray_route_delete,
    RouteDelete: lambda step, around: _encode_route(RTM_DELROUTE, 0, step, around),
    NeighborAdd: lambda step, around: _encode_neighbor(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, step, around),
    NeighborDelete: lambda step, around: _encode_neighbor(RTM_DELNEIGH, 0, step, around),
    FdbAdd: lambda step, around: _encode_fdb(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, step, around),
    FdbDelete: lambda step, around: _encode_fdb(RTM_DELNEIGH, 0, step, around),
}
