"""Reading a host: all that some kind uses, as one value.

A failed dump, or a namespace that disappears while it is read, raises HostError after some tries. An unreadable thing
never counts as absent. The cost: about 0.2 ms for each container's namespace.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.errors import HostError, SilentError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import read_containers, read_holders
from reconciler.kernel.engines.hosts_files import read_hosts_files
from reconciler.kernel.names.resolv_confs import read_resolv_confs
from reconciler.kernel.names.resolvers import read_names, read_resolvers
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netfilter.iptables import read_docker_user
from reconciler.kernel.netlink.dump import read_addresses, read_links, read_loopback, read_netnsid, read_rates, read_routes
from reconciler.kernel.netlink.each_link import read_each_link
from reconciler.kernel.netlink.neighbors import read_fdb, read_neighbors
from reconciler.kernel.netlink.rtnetlink import NetlinkError, RouteSocket
from reconciler.kernel.openvswitch.read import read_switches
from reconciler.kernel.processes.commands import read_processes
from reconciler.kernel.processes.dhcp_clients import read_dhcp_clients
from reconciler.kernel.settings.sysctl import read_remembered, read_sysctls
from reconciler.kernel.starts.records import read_starts
from reconciler.kernel.uplink.move import read_uplinks
from reconciler.kinds.addressing.fdb import LINKS_WITH_TABLE
from reconciler.state.container_spec import OWN
from reconciler.state.members import Member, Selector, settle
from reconciler.state.naming import Alias, parse_alias
from reconciler.state.ref import HOST, container_netns, container_of, is_container_netns, is_lab_netns, netns_path_name
from reconciler.state.snapshot import ContainerInfo, HolderInfo, LinkInfo, NamespaceInfo, Snapshot, TableInfo
from reconciler.state.starts import WaitingStart
from reconciler.state.steps.namespaces import NetnsAdd
from reconciler.state.steps.step import Step
from reconciler.state.uapi import LOOPBACK

READ_TRIES = 3
"""The tries on a host whose containers change meanwhile."""

Links = Mapping[int, LinkInfo]


@dataclass(frozen=True, slots=True)
class Interest:
    """What to read besides things with the topology's mark."""

    sysctls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys by namespace. Those that the topology has remembered on the host are always read."""
    engines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The runtimes of containers here in the file; it is an error if their engine does not answer.

    For each, the existing containers: the topology's name and the engine's.
    """
    members: Mapping[str, Mapping[str, Selector]] = field(default_factory=dict)
    """For each of these runtimes, the containers of the file that labels select."""
    openvswitch: bool = False
    """Whether the file has a subnet on an Open vSwitch bridge here; it is an error if Open vSwitch is missing."""


def read_snapshot(namespaces: Namespaces, interest: Interest) -> Snapshot:
    """The current state of the host, for one topology. HostError if it cannot be read completely."""
    for _ in range(READ_TRIES - 1):
        try:
            return _read(namespaces, interest)
        except SilentError:
            raise
        except HostError:
            continue
    return _read(namespaces, interest)


def _read(namespaces: Namespaces, interest: Interest) -> Snapshot:
    context = namespaces.context
    starting = () if context.is_lab_world else _read_starting(context)  # before the containers, which then are among these
    containers, chosen = settle_members(_read_containers(context, interest))
    everyones, _ = namespaces.read_mounted()
    holders = _read_holders(context, interest)
    pids = find_own_pids(containers, holders, everyones)
    namespaces.set_pids(pids)
    containers = tuple(_with_joined(namespaces, info) for info in containers)
    with_pid = list(map(container_netns, pids))
    members = frozenset(netns for netns in everyones if is_lab_netns(netns))
    own = _read_links(namespaces, [*([] if context.is_lab_world else [HOST]), *with_pid])
    # If hosts of a lab share the directory, most containers are on other hosts: only the loopback is read of them.
    others = everyones - members
    looked = (
        {netns: read_loopback(one) for netns, one in namespaces.open_sockets(others).items()}
        if members
        else _read_links(namespaces, others)
    )
    mounted = choose_own(context, everyones, own | looked)
    own |= _read_links(namespaces, mounted) if members else {netns: looked[netns] for netns in mounted}
    sockets = namespaces.open_sockets(own)
    if not context.is_lab_world:
        own = {netns: _unmask(namespaces, netns, links, is_engines=netns in with_pid) for netns, links in own.items()}
    remembered = frozenset(key for key, one in read_remembered(context).items() if context.topology in one.users)
    sysctls = read_sysctls(namespaces, _wanted_keys(interest, own, remembered))
    snapshot = Snapshot(
        topology=context.topology,
        namespaces={netns: _read_namespace(sockets[netns], netns, own[netns], sysctls.get(netns, {})) for netns in own},
        mounted=mounted,
        containers=containers,
        members=chosen,
        starting=starting,
        holders=holders,
        hosts={} if context.is_lab_world else read_hosts_files(context, mounted),
        remembered=remembered,
    )
    if context.is_lab_world:
        return snapshot
    return replace(
        read_switches(namespaces, snapshot),
        tables=_read_tables(namespaces),
        # Hosts of a lab share the machine's processes; those in another host's namespace belong to that host.
        processes=tuple(
            info for info in read_processes(context) if container_netns(info.share or info.container) not in everyones - mounted
        ),
        iptables=read_docker_user(namespaces)[1],
        uplinks=read_uplinks(context, own.get(HOST, {})),
        dhcp_clients=read_dhcp_clients(context, own, namespaces.identity),
        resolvers=read_resolvers(context),
        names=read_names(context),
        resolv_confs=read_resolv_confs(context, containers, holders),
    )


def _read_starting(context: KernelContext) -> tuple[WaitingStart, ...]:
    """The starts that wait, and that the topology has not answered."""
    return tuple(start.waiting for start in read_starts() if start.waits and context.topology not in start.answered)


def find_own_pids(
    containers: Iterable[ContainerInfo], holders: Mapping[str, HolderInfo], mounted: Container[str]
) -> dict[str, int]:
    """The process whose namespace is the container's, if no file under /run/netns is: by its name in the topology; pure.

    `mounted` are the namespaces under /run/netns. What netctl holds for a container counts before the container's own: an
    apply that was killed may have left both.
    """
    own = {
        info.container: info.pid
        for info in containers
        if info.pid
        and not info.parked
        and (info.existing or (info.network == OWN and container_netns(info.container) not in mounted))
    }
    return own | {info.container: info.pid for info in holders.values() if info.pid}


def _with_joined(namespaces: Namespaces, info: ContainerInfo) -> ContainerInfo:
    """The container, with whether its process is in the namespace that is held for it now."""
    if info.network == OWN or info.parked or not info.pid:
        return info
    try:
        process = os.stat(f"/proc/{info.pid}/ns/net")
    except FileNotFoundError:
        return replace(info, running=False, pid=0)  # it has just ended
    try:
        held = namespaces.identity(container_netns(info.share or info.container))
    except HostError:
        return replace(info, is_joined=False)
    return replace(info, is_joined=held == (process.st_dev, process.st_ino))


def check_namespaces(namespaces: Namespaces, steps: Iterable[Step]) -> None:
    """HostError if a new namespace would have the name of a foreign one, or of anything else that is there."""
    topology, mounted = namespaces.context.topology, namespaces.read_mounted()[0]
    for netns in (step.netns for step in steps if isinstance(step, NetnsAdd)):
        if netns not in mounted:
            namespaces.check_free(netns)
            continue
        alias = parse_alias(read_loopback(namespaces.socket(netns))[LOOPBACK].alias)
        if alias is None or alias.topology != topology:
            name = netns_path_name(topology, netns)
            remedy = f"if it is unused: ip netns delete {name}"
            raise HostError(f"the namespace {name} exists already, and is not netctl's", remedy)


def _read_links(namespaces: Namespaces, names: Iterable[str]) -> dict[str, Links]:
    """All links of each namespace."""
    return {netns: _read_links_of(namespaces, netns, one) for netns, one in namespaces.open_sockets(names).items()}


def _read_links_of(namespaces: Namespaces, netns: str, route_socket: RouteSocket) -> Links:
    """Of a container one by one, if its root has created a link that no dump holds. NetlinkError."""
    try:
        return read_links(route_socket)
    except NetlinkError:
        if not route_socket.restless:
            raise
        namespaces.forget(netns)  # a failed dump remains open on its socket
        return read_each_link(namespaces.socket(netns))


def _unmask(namespaces: Namespaces, netns: str, links: Links, *, is_engines: bool) -> Links:
    """The links of a container; one with its other end in another namespace, but not the host's, counts as a local pair.

    The root of a container can give a pair any numbers, also those of netctl's. It can move the other end into a
    namespace of its own. The host is asked for its number only if that is not the usual one, the first: a container of
    netctl's meets the host first.
    """
    usual = -1 if is_engines else 0
    is_usual = all(link.kind != "veth" or link.local_peer or link.peer_netnsid == usual for link in links.values())
    if is_usual or not is_container_netns(netns):
        return links
    descriptor = namespaces.open(HOST)
    try:
        host = read_netnsid(namespaces.socket(netns), descriptor)
    finally:
        os.close(descriptor)
    return {
        index: replace(link, local_peer=True) if link.kind == "veth" and link.peer_netnsid != host else link
        for index, link in links.items()
    }


def _read_containers(context: KernelContext, interest: Interest) -> tuple[ContainerInfo, ...]:
    """The containers of the engines. The lab itself has none: its hosts' workers read theirs."""
    return () if context.is_lab_world else read_containers(context, interest.engines, interest.members)


def settle_members(found: Iterable[ContainerInfo]) -> tuple[tuple[ContainerInfo, ...], tuple[Member, ...]]:
    """The containers, of which each name and each of the engine's stands once; and all members, also those left out. Pure."""
    everything = tuple(found)
    named = [info for info in everything if info.member is None]
    by_member = {info.member: info for info in everything if info.member}
    names = {info.container for info in named}
    kept, left = settle(by_member, names, {(info.runtime, info.engine_name) for info in named})
    return (*named, *(by_member[member] for member in kept)), (*kept, *left)


def _read_holders(context: KernelContext, interest: Interest) -> dict[str, HolderInfo]:
    found = () if context.is_lab_world else read_holders(context, interest.engines)
    return {container_netns(info.container): info for info in found}


def _read_tables(namespaces: Namespaces) -> tuple[TableInfo, ...]:
    from reconciler.kernel.netfilter.nft import read_tables
    from reconciler.kernel.netfilter.table_dump import TableReader

    reader = namespaces.run(HOST, lambda: TableReader(namespaces.tables))
    try:
        return read_tables(reader, namespaces.context.topology)
    finally:
        reader.close()


def _read_namespace(route_socket: RouteSocket, netns: str, links: Links, sysctls: Mapping[str, str]) -> NamespaceInfo:
    """The rest of a namespace. Containers have no proxy entries and no forwarding databases."""
    is_container = is_container_netns(netns)
    switches = any(link.kind in LINKS_WITH_TABLE for link in links.values())
    return NamespaceInfo(
        links=links,
        addresses=read_addresses(route_socket),
        routes=read_routes(route_socket, ipv6=any(link.ipv6 for link in links.values()), every_type=True),
        neighbors=read_neighbors(route_socket, proxies=not is_container),
        fdb=read_fdb(route_socket) if switches and not is_container else (),
        sysctls=sysctls,
        rates=read_rates(route_socket) if any(link.qdisc == "tbf" for link in links.values()) else (),
    )


def _wanted_keys(interest: Interest, own: Mapping[str, Links], remembered: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The keys to read in the existing namespaces."""
    wanted = {netns: keys for netns, keys in interest.sysctls.items() if netns in own}
    if HOST in own:
        wanted[HOST] = tuple(sorted({*wanted.get(HOST, ()), *remembered}))
    return wanted


def choose_own(context: KernelContext, mounted: frozenset[str], links: Mapping[str, Links]) -> frozenset[str]:
    """The topology's namespaces under /run/netns that are this host's; pure.

    The members of a lab are the lab's. The loopback of a container's namespace names the host that created it. A
    namespace that was created by hand, with the printed commands, names none. Then the host with a link to it owns it,
    or the machine itself. One whose lab host does not exist any more belongs to the lab, so that it is deleted. If no
    lab shares the directory, all are the machine's, whatever their loopback says: the root of a container can write
    there, too.
    """
    members = frozenset(netns for netns in mounted if is_lab_netns(netns))
    wired = {alias.name for link in links.get(HOST, {}).values() if (alias := _own_alias(context, link)) and alias.kind == "veth"}
    hosts_there = {netns_path_name(context.topology, member) for member in members} | {"local"}
    own = set(members) if context.is_lab_world else set()
    for netns in mounted - members:
        loopback = links[netns].get(LOOPBACK)
        alias = _own_alias(context, loopback) if loopback else None
        if alias is None or (context.host_key == "local" and not members):
            is_own = context.host_key == "local" or container_of(netns) in wired
        elif context.is_lab_world:
            is_own = alias.name not in hosts_there
        else:
            is_own = alias.name == context.host_key
        if is_own:
            own.add(netns)
    return frozenset(own)


def _own_alias(context: KernelContext, link: LinkInfo) -> Alias | None:
    alias = parse_alias(link.alias)
    return alias if alias and alias.topology == context.topology else None
