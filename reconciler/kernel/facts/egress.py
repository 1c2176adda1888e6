"""The links by which a host reaches its peers and the world: read from the routes of the main table.

Pure. The link with the host's address does not decide this. A service address may be on `lo`, and a routing daemon
announces it by other links.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.kernel.context import KernelContext
from reconciler.kinds.links.marks import is_direct
from reconciler.kinds.uplink import find_uplink
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, RouteInfo
from reconciler.state.uapi import LOOPBACK


def choose_uplinks(host: NamespaceInfo, context: KernelContext, noted: tuple[str, ...] = ()) -> tuple[LinkInfo, ...]:
    """The links by which packets leave for the peers, the uplink first.

    The uplink is the link that the file names. Without one, it is the link of the route to the first peer that has a
    route. The next choices are the link of the best default route, and the link that holds the host's address. `noted`
    names the links that netctl has moved to a bridge. One of them is the uplink if no route is left, because the bridge
    is gone.
    """
    if context.uplink:
        return tuple(link for link in host.links.values() if link.name == context.uplink)
    to_peers = (_find_egress(host, peer) for peer in context.peers)
    found = tuple(dict.fromkeys(link.index for link in to_peers if link))
    if not found:
        others = (*_find_default_ways(host), *_find_holders(host, context.addresses))
        found = tuple(link.index for link in others)[:1]
    uplinks = tuple(link for index in found if (link := _uplink_below(host, host.links[index])))
    return uplinks or tuple(link for link in host.links.values() if link.name in noted)[:1]


def _uplink_below(host: NamespaceInfo, link: LinkInfo) -> LinkInfo | None:
    """The link itself. For a bridge with which netctl replaced the uplink: the port of it that is not netctl's."""
    if not is_direct(link.alias):
        return link
    uplink = find_uplink(host, link)
    return next((port for port in host.links.values() if uplink and port.name == uplink.name), None)


def _find_egress(host: NamespaceInfo, address: str) -> LinkInfo | None:
    """The link of the route to an address: of the longest prefix, and among equals the lowest metric."""
    wanted = ip_address(address)
    routes = ((ip_network(_cidr_of(route)), route) for route in host.routes if route.family == wanted.version)
    candidates = [(-network.prefixlen, route.metric, route.index) for network, route in routes if wanted in network]
    return _leaving(host, min(candidates)[2]) if candidates else None


def _cidr_of(route: RouteInfo) -> str:
    return {4: "0.0.0.0/0", 6: "::/0"}[route.family] if route.dst == "default" else route.dst


def _find_default_ways(host: NamespaceInfo) -> Iterator[LinkInfo]:
    defaults = sorted((route for route in host.routes if route.dst == "default"), key=lambda route: (route.family, route.metric))
    yield from (link for route in defaults if (link := _leaving(host, route.index)))


def _find_holders(host: NamespaceInfo, addresses: tuple[str, ...]) -> Iterator[LinkInfo]:
    wanted = {ip_interface(address).ip for address in addresses}
    held = (one for one in host.addresses if ip_interface(one.cidr).ip in wanted)
    yield from (link for one in held if (link := _leaving(host, one.index)))


def _leaving(host: NamespaceInfo, index: int) -> LinkInfo | None:
    """The link, if packets leave by it: a route of type blackhole has none, or the loopback."""
    return host.links.get(index) if index != LOOPBACK else None
