"""The facts of a live host before a topology is compiled for it: its uplink, the assigned addresses, and foreign resources.

Most of them come from the snapshot. The rest is read from /proc, from the kernel's list of nftables chains, and from
the engines that the file uses. A kernel's capabilities are tested only if the topology has no firewall there yet.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Literal, cast

from reconciler.errors import SHORT_OF_MEMORY
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import is_silent
from reconciler.kernel.facts.egress import choose_uplinks
from reconciler.kernel.facts.foreign import (
    find_containers,
    find_docker_ports,
    find_docker_user,
    find_interfaces,
    find_links,
    find_listeners,
    find_others_ports,
    find_routes,
    find_shared,
    is_own,
    without_resolvers,
)
from reconciler.kernel.facts.listeners import ListeningSocket, read_listeners
from reconciler.kernel.netfilter.foreign_drops import find_drops, find_legacy_drops
from reconciler.kernel.netfilter.nft import LIBRARY, NO_SUCH_FILE
from reconciler.kernel.netfilter.table_dump import TableReader
from reconciler.kernel.openvswitch.read import read_datapath, read_fault
from reconciler.kernel.processes.dhcp_clients import find_client
from reconciler.kernel.snapshot import Interest
from reconciler.kernel.uplink.candidates import find_places, read_link_facts
from reconciler.kinds.firewall.element_text import parse_elements
from reconciler.kinds.firewall.fast_path import FAMILY
from reconciler.kinds.firewall.port_blocks import BLOCKS_BY_CHAIN, LOW_BLOCKS, WHOLE_RANGE
from reconciler.kinds.firewall.set_elements import LinkElement, SenderAddress, SourcePorts
from reconciler.kinds.firewall.traffic_elements import PublishedPort
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.marks import is_direct
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.state.foreign import ForeignResource, HostPortRange, TransportProtocol
from reconciler.state.host import HostFacts, Lease, SourcePortChoice
from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST, LAB_UPLINK, container_netns
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.uapi import LOOPBACK, SCOPE_LINK

IPV6_SETTINGS = Path("/proc/sys/net/ipv6")
FLOW_SOURCE = re.compile(r"(?:^|,)(?:nw_src|ipv6_src)=([^,]+)")
FLOW_TARGET = re.compile(r"(?:^|,)(?:nw_dst|ipv6_dst)=")
"""In a flow that checks sources, this is for packets that a container only forwards."""


def read_facts(context: KernelContext, snapshot: Snapshot, interest: Interest, *, exists: bool = True) -> HostFacts:
    """The facts of one host.

    A host of the lab that does not exist (`exists` false) has the lab's defaults, and only an engine's containers can
    conflict. HostError if a fact cannot be read.
    """
    if not exists or context.is_lab_world:
        return _default_facts(context, snapshot, interest, exists=exists)
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    links = choose_uplinks(host, context, tuple(one.name for one in snapshot.uplinks))
    link = links[0] if links else None
    listeners = read_listeners()
    foreign, docker_user = read_foreign(context, snapshot, interest, link.name if link else "", listeners)
    missing = read_missing(snapshot)
    slow = "" if missing else find_fast_path_fault(snapshot)
    derived = _derive(snapshot)
    return HostFacts(
        exists=True,
        uplink=link.name if link else context.uplink,
        uplink_mtu=min((each.mtu for each in links), default=1500),
        uplink_mac=link.mac if link else "",
        has_ipv6=IPV6_SETTINGS.exists(),
        accepts_ra=any(read_accepts_ra(host.links[each].name) for each in find_places(snapshot, host, link)) if link else False,
        addresses=derived.addresses,
        leases=derived.leases,
        foreign=foreign,
        members=snapshot.members,
        starting=snapshot.starting,
        has_silent_engine=is_silent(context),
        has_dhcp_client=bool(find_client()),
        links=read_link_facts(context, snapshot),
        missing=missing,
        fast_path=not missing and not slow,
        fast_path_fault=slow,
        openvswitch_fault=read_fault(context) if interest.openvswitch else "",
        openvswitch_datapath=read_datapath() if interest.openvswitch else "netdev",
        listening_ports=find_listening_ports(listeners),
        reserved_ports=read_reserved_ports(),
        source_ports=derived.source_ports,
        published=derived.published,
        docker_user_chain=docker_user,
    )


def _default_facts(context: KernelContext, snapshot: Snapshot, interest: Interest, *, exists: bool) -> HostFacts:
    """The facts of the lab's world, and of a lab host that does not exist."""
    # The engine for a lab host may exist before the host.
    found = () if context.is_lab_world else _of_containers(context, snapshot, interest)
    uplink = context.uplink or LAB_UPLINK
    fault = read_fault(context) if interest.openvswitch else ""
    missing = read_missing(snapshot)
    slow = "" if missing else find_fast_path_fault(snapshot)
    return HostFacts(
        exists,
        uplink,
        has_ipv6=IPV6_SETTINGS.exists(),
        foreign=found,
        members=snapshot.members,
        starting=snapshot.starting,
        has_silent_engine=is_silent(context),
        missing=missing,
        fast_path=not missing and not slow,
        fast_path_fault=slow,
        openvswitch_fault=fault,
    )


def read_foreign(
    context: KernelContext, snapshot: Snapshot, interest: Interest, uplink: str, listeners: Sequence[ListeningSocket]
) -> tuple[tuple[ForeignResource, ...], tuple[Literal["iptables", "ip6tables"], ...]]:
    """All foreign resources, and the commands whose family has Docker's chain."""
    reader = TableReader()
    try:
        chains = reader.read_chains()
        ports = tuple(find_others_ports(reader, context.topology, chains))
        links = snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
        own = tuple(link.name for link in links if is_own(snapshot.topology, link))
        drops = tuple(find_drops(reader, chains, own, uplink, {link.index: link.name for link in links}))
    finally:
        reader.close()
    published = tuple(find_docker_ports(chains))
    # Docker's proxy of a port listens as well, which shows less.
    proxied = {one.port for one in published}
    foreign = (
        *find_routes(snapshot),
        *find_links(snapshot),
        *(
            listener
            for listener in find_listeners(without_resolvers(listeners, snapshot.resolvers))
            if listener.port not in proxied
        ),
        *published,
        *ports,
        *drops,
        *find_legacy_drops(own, uplink),
        *_of_containers(context, snapshot, interest),
    )
    return foreign, find_docker_user(chains)


def _of_containers(context: KernelContext, snapshot: Snapshot, interest: Interest) -> tuple[ForeignResource, ...]:
    """Foreign resources in the engines and in their containers."""
    return (*find_interfaces(snapshot), *find_shared(context, snapshot), *find_containers(context, interest.engines))


# --- of the snapshot --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Derived:
    """The facts that follow from a snapshot alone."""

    addresses: tuple[str, ...]
    leases: tuple[Lease, ...]
    source_ports: tuple[SourcePortChoice, ...]
    published: tuple[HostPortRange, ...]


_latest: list[tuple[Snapshot, _Derived]] = []
"""The last result: a reading without a change is the same object as the one before (`state.snapshot.reuse`)."""


def _derive(snapshot: Snapshot) -> _Derived:
    if not _latest or _latest[0][0] is not snapshot:
        derived = _Derived(
            tuple(find_addresses(snapshot)),
            (*find_leases(snapshot), *find_macvlan_leases(snapshot)),
            find_source_ports(snapshot),
            tuple(find_published(snapshot)),
        )
        _latest[:] = [(snapshot, derived)]
    return _latest[0][1]


def find_addresses(snapshot: Snapshot) -> Iterator[str]:
    """The host's own addresses on foreign links, without 127.0.0.0/8, ::1 and link-local ones; the loopback's last."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    for address in sorted(host.addresses, key=lambda address: address.index == LOOPBACK):
        link = host.links.get(address.index)
        own = ip_interface(address.cidr)
        if link and (is_direct(link.alias) or not is_own(snapshot.topology, link)) and not (own.is_loopback or own.is_link_local):
            yield address.cidr


def find_leases(snapshot: Snapshot) -> Iterator[Lease]:
    """The addresses of netctl's bridges, and of the remote ends of its veths; the alias of the host's link names the holder.

    A container has the addresses that the host's filter allows. Its root decides the addresses on its link. If these
    counted, an address that it adds there would become its own. They count only if a LAN gives the address, or if the
    filter lacks the port.
    """
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    asking = find_asking(snapshot)
    allowed = {port: addresses for port, addresses in find_allowed(snapshot).items() if port not in asking}
    for link in host.links.values():
        alias = parse_alias(link.alias)
        if alias is None or not is_own(snapshot.topology, link):
            continue
        if alias.kind == "bridge":
            yield from (Lease(alias.name, "", address) for address in find_held(host, link.index))
        elif alias.kind == "veth":
            inside = snapshot.namespaces.get(container_netns(alias.name), NamespaceInfo())
            held = allowed.get(link.name) or find_held(inside, link.peer)
            yield from (Lease(alias.subnet, alias.name, address) for address in held)


def find_allowed(snapshot: Snapshot) -> dict[str, list[str]]:
    """By the name of a port: the addresses that it may send from, on all networks of its container; without link-local ones."""
    found: dict[str, list[str]] = {}
    for table in snapshot.tables:
        for sender in parse_elements("bridge", table.elements, SenderAddress) if table.family == "bridge" else ():
            if sender.purpose == "addresses":
                found.setdefault(sender.link, []).append(sender.address)
    for flow in OvsFlow.recognise(snapshot):
        if (address := FLOW_SOURCE.search(flow.match)) and not FLOW_TARGET.search(flow.match):
            found.setdefault(flow.port, []).append(address[1])
    return {port: [each for each in addresses if is_chosen(each)] for port, addresses in found.items()}


def find_asking(snapshot: Snapshot) -> set[str]:
    """The ports that may request an address from a DHCP server."""
    tables = (table for table in snapshot.tables if table.family == "bridge")
    ports = (port for table in tables for port in parse_elements(table.family, table.elements, LinkElement))
    asking = {port.link for port in ports if port.purpose == "dhcp_clients"}
    return asking | {
        flow.port for flow in OvsFlow.recognise(snapshot) if "tp_dst=67" in flow.match and "nw_src=0.0.0.0" in flow.match
    }


def is_chosen(address: str) -> bool:
    """Whether it is one address, and none that every link has."""
    return "/" not in address and not address.startswith(("fe80:", "0.0.0.0", "::"))


def find_macvlan_leases(snapshot: Snapshot) -> Iterator[Lease]:
    """The same of macvlans, whose own alias names the holder."""
    for link in Macvlan.find_own(snapshot):
        if link.alias and link.alias.kind == Macvlan.kind:
            held = find_held(snapshot.namespaces[link.netns], link.info.index)
            yield from (Lease(link.alias.subnet, link.alias.name, address) for address in held)


def find_held(namespace: NamespaceInfo, index: int) -> Iterator[str]:
    """The addresses on a link, without their prefix lengths and without IPv6 link-local ones, which the kernel forms."""
    for address in namespace.addresses:
        if address.index == index and address.scope != SCOPE_LINK:
            yield address.cidr.partition("/")[0]


def find_source_ports(snapshot: Snapshot) -> tuple[SourcePortChoice, ...]:
    """What the live firewall does with source ports; empty if it does nothing."""
    blocks = {chain: (block.first, block.last) for chain, block in BLOCKS_BY_CHAIN.items()}
    tables = (table for table in snapshot.tables if table.family == "inet")
    elements = (element for table in tables for element in parse_elements(table.family, table.elements, SourcePorts))
    return tuple(SourcePortChoice(element.ports, blocks[element.chain]) for element in elements if element.chain in blocks)


def find_published(snapshot: Snapshot) -> Iterator[HostPortRange]:
    """The ports that the live firewall publishes, without what they lead to."""
    found: dict[tuple[str, str], set[int]] = {}
    for table in snapshot.tables:
        for port in parse_elements("inet", table.elements, PublishedPort) if table.family == "inet" else ():
            found.setdefault((port.protocol, port.address), set()).add(port.port)
    for (protocol, address), ports in sorted(found.items()):
        for first, last in ranges_of(ports):
            yield HostPortRange(protocol=cast("TransportProtocol", protocol), address=ip_address(address), first=first, last=last)


def ranges_of(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The runs of consecutive numbers, as first and last, in order."""
    ordered = sorted(numbers)
    starts = [number for number, before in zip(ordered, [None, *ordered], strict=False) if before != number - 1]
    ends = [number for number, after in zip(ordered, [*ordered[1:], None], strict=True) if after != number + 1]
    yield from zip(starts, ends, strict=True)


# --- of the host ------------------------------------------------------------------------------------------------------


def read_accepts_ra(link: str) -> bool:
    """Whether the kernel accepts routes of router advertisements on the link (ip-sysctl.rst): 1 applies until it forwards."""
    directory = Path("/proc/sys/net/ipv6/conf") / link
    try:
        accepts = (directory / "accept_ra").read_text().strip()
        forwards = (directory / "forwarding").read_text().strip()
    except FileNotFoundError:  # a kernel without IPv6
        return False
    return accepts == "2" or (accepts == "1" and forwards == "0")


def find_listening_ports(listeners: Iterable[ListeningSocket]) -> tuple[int, ...]:
    """The ports among those of masqueraded connections with a socket of the host, without sockets on localhost."""
    blocks = (WHOLE_RANGE, *LOW_BLOCKS)
    open_ones = (one for one in listeners if not ip_address(one.address).is_loopback)
    return tuple(sorted({one.port for one in open_ones if any(block.overlaps(one.port, one.port) for block in blocks)}))


def read_reserved_ports() -> tuple[tuple[int, int], ...]:
    """The ranges of net.ipv4.ip_local_reserved_ports, as `8080,9000-9100` (ip-sysctl.rst)."""
    text = Path("/proc/sys/net/ipv4/ip_local_reserved_ports").read_text(encoding="ascii").strip()
    ranges = (word.partition("-") for word in text.split(",") if word)
    return tuple((int(first), int(last or first)) for first, _, last in ranges)


def read_missing(snapshot: Snapshot) -> tuple[str, ...]:
    """What the host lacks, one sentence each. If netctl's firewall is loaded already, kernel and library are sufficient."""
    if os.geteuid() != 0:
        return ("netctl needs root on the host: run it with sudo",)
    if snapshot.tables:
        return ()
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        is_missing = NO_SUCH_FILE in str(error)
        cause = f"cannot load {error} ({SHORT_OF_MEMORY})"
        return ("the library libnftables is missing: apt-get install libnftables1" if is_missing else cause,)
    if find_spec("nftables") is None:
        return ("the Python module nftables is missing: pip install oxl-libnftables",)
    from reconciler.kernel.netfilter.nft import missing_features

    return missing_features(("inet", "bridge", "arp"))


def find_fast_path_fault(snapshot: Snapshot) -> str:
    """The reason why the kernel cannot forward at a link's ingress hook (CONFIG_NFT_FWD_NETDEV); "" if it can, or does."""
    if any(table.family == FAMILY for table in snapshot.tables):
        return ""
    from reconciler.kernel.netfilter.nft import missing_features

    return next(iter(missing_features((FAMILY,))), "")
