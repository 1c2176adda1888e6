"""Foreign resources on a host (`state.foreign`) that may conflict: listed here, judged by `compile`, which knows the needs.

It changes nothing. Routes show an engine's networks; listeners and rules show its ports. So the engine need not be
asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal, cast

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import Wanted, engine_of
from reconciler.kernel.facts.listeners import ListeningSocket
from reconciler.kernel.netfilter.iptables import DOCKER_NAT_CHAIN, read_docker_ports
from reconciler.kernel.netfilter.table_dump import ChainInfo, TableReader
from reconciler.kinds.firewall.docker_user import DOCKER_CHAIN
from reconciler.kinds.firewall.element_text import is_element, parse_elements
from reconciler.kinds.firewall.program import TABLE_PREFIX
from reconciler.kinds.firewall.traffic_elements import PublishedPort
from reconciler.kinds.links import TUNNELS
from reconciler.kinds.links.marks import bears_tag
from reconciler.kinds.openvswitch.bridge import own_switches
from reconciler.state.foreign import (
    ForeignContainer,
    ForeignInterface,
    ForeignLink,
    ForeignListener,
    ForeignPort,
    ForeignRoute,
    ForeignTunnel,
    HostPort,
    SharedNamespace,
    TransportProtocol,
)
from reconciler.state.naming import ROUTE_PROTOCOL, group_of, parse_alias
from reconciler.state.ref import HOST, container_netns
from reconciler.state.resolver import ResolverInfo
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.uapi import LOOPBACK

FAMILY_TOOLS: tuple[tuple[str, Literal["iptables", "ip6tables"]], ...] = (("ip", "iptables"), ("ip6", "ip6tables"))
TUNNEL_KINDS = frozenset(kind.kind for kind in TUNNELS)


def is_own(topology: str, link: LinkInfo) -> bool:
    """Whether a link on a host is the topology's own. The uplink of a lab host belongs to the lab, as a cable would."""
    if not bears_tag(topology, link):
        return False
    alias = parse_alias(link.alias)
    return alias is None or (alias.topology == topology and alias.kind != "lab")


def is_another_topologys(topology: str, link: LinkInfo) -> bool:
    """Whether netctl created a link for another topology."""
    alias = parse_alias(link.alias)
    return alias is not None and alias.topology != topology and link.group == group_of(alias.topology)


# --- of the snapshot --------------------------------------------------------------------------------------------------


def find_routes(snapshot: Snapshot) -> Iterator[ForeignRoute]:
    """Routes that a subnet may overlap: all but default routes, netctl's own, and those that every link has for itself."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    for route in host.routes:
        link = host.links.get(route.index)
        if route.dst in ("default", "::1") or route.dst.startswith(("fe80:", "ff00:", "127.")):
            continue
        if route.form and (link is None or link.index == LOOPBACK):  # without a link: IPv6 reports the loopback
            yield ForeignRoute(destination=ip_network(route.dst), form=route.form, metric=route.metric)
            continue
        another = link is not None and is_another_topologys(snapshot.topology, link)
        if link is None or is_own(snapshot.topology, link) or (route.protocol == ROUTE_PROTOCOL and not another):
            continue
        yield ForeignRoute(destination=ip_network(route.dst), link=link.name, by_netctl=another)


def find_links(snapshot: Snapshot) -> Iterator[ForeignLink | ForeignTunnel]:
    """Foreign links on the host, whose names are used."""
    # netctl may be killed between the creation of an Open vSwitch bridge, marked in its database, and the mark on its
    # link.
    switches = {bridge.name for bridge, _ in own_switches(snapshot)}
    for link in snapshot.namespaces.get(HOST, NamespaceInfo()).links.values():
        if not is_own(snapshot.topology, link) and link.index != LOOPBACK and link.name not in switches:
            yield ForeignLink(name=link.name)
            yield from (ForeignLink(name=altname, altname_of=link.name) for altname in link.altnames)
            if link.kind in TUNNEL_KINDS:
                yield ForeignTunnel(name=link.name, link_kind=link.kind, options=link.options)


def find_interfaces(snapshot: Snapshot) -> Iterator[ForeignInterface]:
    """Links in existing containers that are not the remote ends of netctl's, and that the container has not created itself.

    Such a link has its other end, or the link below it, elsewhere, or is hardware. It was given to the container, and
    serves it. A link that its root created is completely in the container, and is removed (`kinds.stray`): else root
    could prevent every apply.
    """
    host = snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
    # Of any container: one that shares a namespace with another is reported as that (`find_shared`).
    cables = [link for link in host if link.kind == "veth"]
    wired = {(link.peer, link.index) for link in cables if is_own(snapshot.topology, link)}
    others = {
        (link.peer, link.index): alias.topology
        for link in cables
        if is_another_topologys(snapshot.topology, link) and (alias := parse_alias(link.alias))
    }
    for info in snapshot.containers:
        if info.existing:
            inside = snapshot.namespaces.get(container_netns(info.container), NamespaceInfo())
            for link in inside.links.values():
                is_given = link.index != LOOPBACK and not (link.kind and link.local_peer)
                if is_given and (link.index, link.peer) not in wired and not is_own(snapshot.topology, link):
                    yield ForeignInterface(
                        container=info.container,
                        name=link.name,
                        runtime=info.runtime,
                        engine_name=info.engine_name,
                        networks=info.networks,
                        topology=others.get((link.index, link.peer), ""),
                    )


# --- of the host ------------------------------------------------------------------------------------------------------


def without_resolvers(listeners: Iterable[ListeningSocket], resolvers: Iterable[ResolverInfo]) -> Iterator[ListeningSocket]:
    """The sockets that no name server of the topology's holds."""
    own = tuple(f"(pid {pid})" for one in resolvers for pid in one.pids)
    return (listener for listener in listeners if not (own and listener.holder.endswith(own)))


def find_listeners(listeners: Iterable[ListeningSocket]) -> Iterator[ForeignListener]:
    """Sockets from which a published port would take the packets."""
    for one in listeners:
        port = HostPort(protocol=one.protocol, address=ip_address(one.address), port=one.port)
        yield ForeignListener(port=port, holder=one.holder)


def find_others_ports(reader: TableReader, topology: str, chains: Iterable[ChainInfo]) -> Iterator[ForeignPort]:
    """The ports that other topologies of netctl publish on the host."""
    own = TABLE_PREFIX + topology
    names = {chain.table for chain in chains if chain.family == "inet" and chain.table.startswith(TABLE_PREFIX)}
    for name in sorted(names - {own}):
        table = reader.read_table("inet", name)
        elements = [element for element in table.elements if is_element("inet", *element)] if table else []
        for port in parse_elements("inet", elements, PublishedPort):
            yield ForeignPort(port=host_port_of(port), topology=name.removeprefix(TABLE_PREFIX))


_parse_address = lru_cache(ip_address)
"""Ten thousand published ports have few addresses."""


def host_port_of(port: PublishedPort) -> HostPort:
    """The host's side of a published port."""
    return HostPort(protocol=cast("TransportProtocol", port.protocol), address=_parse_address(port.address), port=port.port)


def find_docker_user(chains: tuple[ChainInfo, ...]) -> tuple[Literal["iptables", "ip6tables"], ...]:
    """The iptables commands whose DOCKER-USER chain is among the chains of nftables."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    return tuple(tool for family, tool in FAMILY_TOOLS if (family, "filter", DOCKER_CHAIN) in names)


def find_docker_ports(chains: Iterable[ChainInfo]) -> Iterator[ForeignPort]:
    """The ports that Docker publishes, by its rules: also without a proxy that listens (`--userland-proxy=false`)."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    tools = [tool for family, tool in FAMILY_TOOLS if (family, "nat", DOCKER_NAT_CHAIN) in names]
    for tool in tools:
        yield from (ForeignPort(port=port) for port in read_docker_ports(tool))


def find_shared(context: KernelContext, snapshot: Snapshot) -> Iterator[SharedNamespace]:
    """Containers of the engines that share a network namespace with another of the topology's, or with the host."""
    found: dict[tuple[int, int], str | None] = {}
    namespaces: list[tuple[str, str | None]] = [(context.own_netns, None)]
    namespaces += [(f"/proc/{info.pid}/ns/net", info.container) for info in snapshot.containers if info.pid and not info.parked]
    namespaces += [(f"/proc/{info.pid}/ns/net", info.container) for info in snapshot.holders.values() if info.pid]
    for path, container in namespaces:
        try:
            status = os.stat(path)
        except (FileNotFoundError, ProcessLookupError):
            continue  # a lab host that does not exist yet, or a container that has just ended
        other = found.setdefault((status.st_dev, status.st_ino), container)
        if container is not None and other != container:
            yield SharedNamespace(container=container, other=other)


def find_containers(context: KernelContext, wanted: Wanted) -> Iterator[ForeignContainer]:
    """The foreign containers in the engines that the file uses."""
    for runtime in wanted:
        for name, state in engine_of(context, runtime).read_foreign():
            yield ForeignContainer(name=name, runtime=runtime, state=state)
