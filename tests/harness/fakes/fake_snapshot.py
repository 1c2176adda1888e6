"""What the kernel would show of a state: the inverse of `recognise_all`, for tests that need no kernel."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.engine.hosts import HostsFile
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.links.base import Link
from reconciler.kinds.links.port import BridgePort
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.names.name_file import NameFile
from reconciler.kinds.names.resolv_conf import ResolvConf
from reconciler.kinds.names.resolver import Resolver
from reconciler.kinds.netns import Netns
from reconciler.kinds.process import Process
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.host import HostState
from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.ref import HOST
from reconciler.state.resolver import ResolverInfo
from reconciler.state.snapshot import (
    AddressInfo,
    ContainerInfo,
    FdbInfo,
    HolderInfo,
    LinkInfo,
    NamespaceInfo,
    NeighborInfo,
    ProcessInfo,
    ResolvConfInfo,
    RouteInfo,
    Snapshot,
    TableInfo,
)
from reconciler.state.uapi import LOOPBACK, NUD_NOARP, NUD_PERMANENT

UPLINK = LinkInfo(2, "eth0", "veth", "02:00:00:00:00:02", 1500, 0, up=True, peer=3)
"""A foreign link of the host, as a lab host has one."""


class FakeSnapshot:
    """Collects what a snapshot of the state's host holds."""

    def __init__(self, topology: str, state: HostState) -> None:
        """Of `state`, all of one host and of one topology."""
        self._links: dict[str, dict[int, LinkInfo]] = defaultdict(dict)
        self._infos: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        self._topology = topology
        self._state = state

    def show(self) -> Snapshot:
        """The snapshot."""
        records = tuple(self._state.records.values())
        self._links[HOST] = {1: _loopback(ipv6=True, up=True), 2: UPLINK}
        self._links["lab:elsewhere"] = {2: replace(UPLINK, peer=4)}
        for record in sorted(records, key=lambda record: isinstance(record, Link) + isinstance(record, BridgePort)):
            match record:
                case Netns():
                    self._links[record.netns][LOOPBACK] = _loopback(ipv6=record.ipv6, up=record.loopback)
                case NetnsHolder() | EngineContainer(network="own"):
                    self._links[record.netns][LOOPBACK] = _loopback(ipv6=True, up=True)
                case Link():
                    self._link(record)
        for record in records:
            if isinstance(record, Address | Route | Neighbor):
                self._on_link(record)
            if isinstance(record, Fdb):
                index = self._index(record.netns, record.dev)
                self._infos[record.netns]["fdb"].append(FdbInfo(index, record.mac, record.remote, NUD_NOARP, record.sticky))
        sysctls: dict[str, dict[str, str]] = defaultdict(dict)
        for record in records:
            if isinstance(record, Sysctl):
                sysctls[record.netns][record.key] = record.value
        hosts = {r.netns: r.lines for r in records if isinstance(r, HostsFile)}
        return Snapshot(
            topology=self._topology,
            namespaces={
                netns: NamespaceInfo(
                    links=links,
                    addresses=tuple(self._infos[netns]["addresses"]),
                    routes=tuple(self._infos[netns]["routes"]),
                    neighbors=tuple(self._infos[netns]["neighbors"]),
                    fdb=tuple(self._infos[netns]["fdb"]),
                    sysctls=sysctls.get(netns, {}),
                )
                for netns, links in self._links.items()
            },
            mounted=frozenset(record.netns for record in records if isinstance(record, Netns)),
            tables=tuple(self._tables()),
            containers=tuple(
                ContainerInfo(
                    r.runtime,
                    r.container,
                    r.engine_name,
                    r.spec,
                    r.running,
                    1,
                    r.existing,
                    network=r.network,
                    is_joined=r.is_joined,
                    share=r.share,
                )
                for r in records
                if isinstance(r, EngineContainer)
            ),
            holders={
                r.netns: HolderInfo(r.runtime, r.container, r.engine_name, r.shares, int(r.running), hosts.get(r.netns, ()))
                for r in records
                if isinstance(r, NetnsHolder)
            },
            hosts={r.netns: r.lines for r in records if isinstance(r, HostsFile) and not r.holder},
            processes=tuple(
                ProcessInfo(1, r.container, r.command, r.env, r.share, r.has_resolv_conf)
                for r in records
                if isinstance(r, Process)
            ),
            resolvers=tuple(ResolverInfo(r.subnet, r.view, r.config) for r in records if isinstance(r, Resolver)),
            names={(r.subnet, r.view): r.lines for r in records if isinstance(r, NameFile)},
            resolv_confs=tuple(
                ResolvConfInfo(r.netns, r.lines, r.engine, r.holder) for r in records if isinstance(r, ResolvConf)
            ),
            remembered=frozenset(record.key for record in records if isinstance(record, Sysctl) and record.remember),
        )

    def _link(self, record: Link) -> None:
        """The link as the kernel shows it, with options that netctl does not compare."""
        shown = dict(record.wire_options) | {"ageing_time": "30000"}
        lower = shown.pop("link", "")
        master, port_options = (record.master, record.port_options) if isinstance(record, BridgePort) else ("", ())
        link = LinkInfo(
            0,
            record.name,
            record.kind,
            record.mac,
            record.mtu,
            record.group,
            up=record.up,
            master=self._index(record.netns, master) if master else 0,
            peer=self._index(HOST, lower) if lower else 0,
            alias=record.alias,
            altnames=(record.altname,) if record.altname else (),
            link_local=record.link_local,
            options=tuple(sorted(shown.items())),
            port_options=tuple(sorted((*port_options, ("priority", "32")))) if master else (),
            arp=record.arp,
        )
        index = self._add(record.netns, link)
        if isinstance(record, Veth):
            far = LinkInfo(0, record.peer_name, record.kind, record.mac, record.peer_mtu, 0, up=record.up, arp=record.peer_arp)
            far_index = self._add(record.peer_netns, replace(far, peer=index))
            near = replace(link, index=index, mac="02:ff:ff:ff:ff:ff", options=(), peer=far_index)
            self._links[record.netns][index] = near

    def _add(self, netns: str, link: LinkInfo) -> int:
        index = max(self._links[netns], default=0) + 1
        self._links[netns][index] = replace(link, index=index)
        return index

    def _index(self, netns: str, name: str) -> int:
        return next(index for index, link in self._links[netns].items() if link.name == name)

    def _on_link(self, record: Address | Route | Neighbor) -> None:
        index, infos = self._index(record.netns, record.dev), self._infos[record.netns]
        match record:
            case Address():
                infos["addresses"].append(AddressInfo(index, record.cidr, 0x280, 0))
                if ":" in record.cidr:
                    infos["addresses"].append(AddressInfo(index, "fe80::1/64", 0x80, 253))
            case Route():
                infos["routes"].append(
                    RouteInfo(record.family, record.dst, index, record.via, record.src, record.metric, ROUTE_PROTOCOL, 0)
                )
            case Neighbor():
                infos["neighbors"].append(
                    NeighborInfo(index, record.address, record.mac, NUD_PERMANENT, ROUTE_PROTOCOL, record.proxy)
                )
                infos["neighbors"].append(NeighborInfo(index, "192.0.2.250", "02:00:00:00:00:fa", 0x02, 0))

    def _tables(self) -> list[TableInfo]:
        elements: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for record in self._state.records.values():
            if isinstance(record, FirewallElement):
                elements[record.family].append((record.set, record.key, record.value))
        return [
            TableInfo(record.family, f"netctl-{record.topology}", record.intact, tuple(elements[record.family]))
            for record in self._state.records.values()
            if isinstance(record, FirewallTable)
        ]


def _loopback(*, ipv6: bool, up: bool) -> LinkInfo:
    return LinkInfo(LOOPBACK, "lo", "", "00:00:00:00:00:00", 65536, 0, up=up, accept_ra=int(ipv6))


def fake_snapshot(topology: str, state: HostState) -> Snapshot:
    """What a read of the state's host would give."""
    return FakeSnapshot(topology, state).show()
