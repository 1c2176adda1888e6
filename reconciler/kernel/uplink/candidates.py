"""The links of a host that can be connected to a LAN, with the facts for `compile.lan`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_interface
from pathlib import Path

from reconciler.kernel.context import KernelContext
from reconciler.kinds.links.marks import is_direct
from reconciler.kinds.uplink import is_netctls
from reconciler.state.host import LinkFacts
from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, RouteInfo, Snapshot
from reconciler.state.uapi import LOOPBACK

SYSFS = Path("/sys/class/net")


def read_link_facts(context: KernelContext, snapshot: Snapshot, sysfs: Path = SYSFS) -> tuple[LinkFacts, ...]:
    """Every link of the host but the loopback and netctl's own, in the order of their numbers."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    switches = {bridge.name for bridge in snapshot.ovs_bridges}
    return tuple(
        LinkFacts(
            name=link.name,
            kind="openvswitch" if link.name in switches else link.kind,
            mac=link.mac,
            mtu=link.mtu,
            master="" if _is_home(context.topology, host, link) else _name_of(host, link.master),
            is_wireless=not link.kind and is_wireless(link, sysfs),
            addresses=tuple(find_own(host, find_places(snapshot, host, link))),
            routers=tuple(find_routers(host, find_places(snapshot, host, link))),
        )
        for link in host.links.values()
        if link.index != LOOPBACK and not is_netctls(link, context.topology)
    )


def is_wireless(link: LinkInfo, sysfs: Path = SYSFS) -> bool:
    """Whether the kernel lists the link as wireless.

    /sys shows the links of the namespace that mounted it, so MACs must match.
    """
    directory = sysfs / link.name
    try:
        is_this = (directory / "address").read_text().strip() == link.mac
    except OSError:
        return False
    return is_this and any((directory / name).exists() for name in ("wireless", "phy80211"))


def find_routers(host: NamespaceInfo, interfaces: Collection[int]) -> Iterator[str]:
    """The next hops of the default routes over links, given by their numbers."""
    defaults = [route for route in host.routes if route.dst == "default" and route.via and route.index in interfaces]
    yield from dict.fromkeys(route.via for route in sorted(defaults, key=_rank))


def find_own(host: NamespaceInfo, interfaces: Collection[int]) -> Iterator[str]:
    """The addresses on links, given by their numbers."""
    yield from (one.cidr for one in host.addresses if one.index in interfaces and not ip_interface(one.cidr).is_link_local)


def find_places(snapshot: Snapshot, host: NamespaceInfo, link: LinkInfo) -> set[int]:
    """The links with a link's addresses and routes: itself, and the bridge to which netctl moved them.

    The host's file names it, even if an administrator has taken the link out.
    """
    bridges = {info.bridge for info in snapshot.uplinks if info.name == link.name}
    direct = (one for one in host.links.values() if is_direct(one.alias))
    found = {one.index for one in direct if one.index == link.master or one.name in bridges}
    return {link.index} | found


def _rank(route: RouteInfo) -> tuple[int, int]:
    return route.family, route.metric


def _is_home(topology: str, host: NamespaceInfo, link: LinkInfo) -> bool:
    """Whether it is in no bridge, or in one of the topology's own."""
    master = host.links.get(link.master)
    alias = parse_alias(master.alias) if master else None
    return master is None or (is_direct(master.alias) and alias is not None and alias.topology == topology)


def _name_of(host: NamespaceInfo, index: int) -> str:
    return host.links[index].name if index in host.links else ""
