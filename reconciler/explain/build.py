"""The nodes of a topology from the records and the facts of its hosts (`world`).

A real host has links, addresses and routes that are not netctl's. Its facts say what is known of them; from the file alone
it is one uplink with the addresses of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.compile.underlay import underlay_of, uplink_of
from reconciler.explain.tables import Table
from reconciler.explain.world import OUTSIDE, Held, InterfaceSort, Network, Node, NodeKey, NodeLink, Way, World
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook
from reconciler.kinds.links.base import Link
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsBridge, OvsPort
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts, HostState
from reconciler.state.lab import OUTSIDE_INTERFACES, OUTSIDE_NETNS
from reconciler.state.record import Record
from reconciler.state.ref import HOST, container_netns, container_of, is_container_netns, is_lab_netns, lab_member_of
from reconciler.topology.types import Topology


def build_world(topology: Topology, states: Mapping[str, HostState], facts: Mapping[str, HostFacts]) -> World:
    """The nodes that the records of all hosts describe. A host without facts is known from the file alone."""
    world = World(topology, is_file_only=not any(known.exists for known in facts.values()))
    for declared in topology.hosts.values():
        _node(world, (declared.name, HOST))
        if declared.connect.scheme != "lab":
            _foreign(world, declared.name, facts.get(declared.name))
    for container in topology.containers.values():
        _node(world, (container.host, container_netns(container.share or container.name)))
    _read(world, states)
    _outside(world)
    for host, known in facts.items():
        _leases(world, host, known, states.get(host))
    for node in world.nodes.values():
        for held in node.addresses:
            world.owners.setdefault(held.address, (node.key, held.dev))
        for interface in node.interfaces.values():
            if interface.mac:
                world.macs.setdefault(interface.mac, (node.key, interface.name))
    return world


def _read(world: World, states: Mapping[str, HostState]) -> None:
    """Add all records. The other end of a lab host's uplink is in the lab's state, so links of all hosts come first."""
    for step in (_links, _addressing, _firewall, _switching):
        for host, state in states.items():
            for record in state.records.values():
                step(world, host, record)
    for host in states:
        _take_in(world, host)


def _key(host: str, netns: str) -> NodeKey:
    member = lab_member_of(netns)
    return (member, HOST) if member and netns != OUTSIDE_NETNS and member != "router" else (host, netns)


def _node(world: World, key: NodeKey) -> Node:
    if key not in world.nodes:
        host, netns = key
        is_host = netns == HOST and host in world.topology.hosts
        name = container_of(netns) or lab_member_of(netns) or host
        world.nodes[key] = Node(key, name, is_host=is_host, forwards=is_host or (is_lab_netns(netns) and netns != OUTSIDE_NETNS))
    return world.nodes[key]


def _foreign(world: World, name: str, known: HostFacts | None) -> None:
    """The links of a real host that are not netctl's."""
    host, node = world.topology.hosts[name], _node(world, (name, HOST))
    uplink = uplink_of(host, known) or "its uplink"
    for link in known.links if known else ():
        sort: InterfaceSort = "bridge" if link.kind == "bridge" else "foreign"
        node.interfaces[link.name] = NodeLink(link.name, sort, link.kind, link.mac, master=link.master)
        for cidr in link.addresses:
            _hold(node, link.name, cidr, None)
    if uplink not in node.interfaces:
        node.interfaces[uplink] = NodeLink(uplink, "foreign", "", known.uplink_mac if known else "")
    declared = underlay_of(host, known)
    for own in declared:
        if not any(held.address == own.address for held in node.addresses):
            _hold(node, uplink, f"{own.address}/{ip_network(own.network).prefixlen}", None)
    link_facts = next((link for link in known.links if link.name == uplink), None) if known else None
    for everything in (ip_network("0.0.0.0/0"), ip_network("::/0")):
        routers = (one for one in (link_facts.routers if link_facts else ()) if ip_address(one).version == everything.version)
        node.ways.append(Way(everything, uplink, next(routers, ""), metric=1 << 31))


def _hold(node: Node, dev: str, cidr: str, record: Record | None) -> None:
    own = ip_interface(cidr)
    node.addresses.append(Held(dev, str(own.ip), own.network, record))
    if record is None:
        node.ways.append(Way(own.network, dev, metric=1 << 30))


def _links(world: World, host: str, record: Record) -> None:
    """The interfaces of a record, if it is a link."""
    if isinstance(record, Veth):
        here, there = _key(host, record.netns), _key(host, record.peer_netns)
        options = dict(record.port_options)
        near = NodeLink(
            record.name,
            "cable",
            "veth",
            "",
            record,
            record.master,
            (there, record.peer_name),
            group=record.group,
            options=options,
        )
        far = NodeLink(record.peer_name, "cable", "veth", record.mac, record, "", (here, record.name))
        near.is_up = far.is_up = record.up
        _node(world, here).interfaces[record.name] = near
        _node(world, there).interfaces[record.peer_name] = far
        if record.netns == HOST and record.master and record.master not in _node(world, here).interfaces:
            _node(world, here).interfaces.setdefault(record.master, NodeLink(record.master, "bridge", "bridge"))
    elif isinstance(record, Bridge | OvsBridge):
        kind = "bridge" if isinstance(record, Bridge) else "openvswitch"
        sort: InterfaceSort = "bridge" if isinstance(record, Bridge) else "switch"
        made = NodeLink(record.name, sort, kind, record.mac, record, group=record.group)
        made.is_up = record.up
        _node(world, _key(host, record.netns)).interfaces[record.name] = made
    elif isinstance(record, Tunnel):
        made = NodeLink(record.name, "tunnel", record.kind, record.mac, record, record.master, group=record.group)
        made.is_up, made.options = record.up, dict(record.port_options)
        _node(world, _key(host, record.netns)).interfaces[record.name] = made
    elif isinstance(record, Link):
        made = NodeLink(
            record.name, "stacked", record.kind, record.mac, record, lower=str(getattr(record, "lower", "")), group=record.group
        )
        made.is_up = record.up
        _node(world, _key(host, record.netns)).interfaces[record.name] = made


def _addressing(world: World, host: str, record: Record) -> None:
    node = world.nodes.get(_key(host, record.netns)) if hasattr(record, "dev") else None
    if node is None:
        return
    if isinstance(record, Address):
        _hold(node, record.dev, record.cidr, record)
    elif isinstance(record, Route):
        dst = record.dst if record.dst != "default" else ("0.0.0.0/0" if record.family == 4 else "::/0")
        node.ways.append(Way(ip_network(dst), record.dev, record.via, record.src, record.metric, record))
    elif isinstance(record, Neighbor):
        (node.proxies if record.proxy else node.neighbors)[record.dev, record.address] = record
    elif isinstance(record, Fdb):
        node.fdb.setdefault((record.dev, record.mac), []).append(record)


def _firewall(world: World, host: str, record: Record) -> None:
    node = _node(world, (host, HOST))
    if isinstance(record, FirewallTable):
        table = Table(record.family, record.topology, record.subnet)
        node.tables.setdefault((record.family, record.subnet), table).is_intact = record.intact
    elif isinstance(record, FirewallElement):
        key = (record.family, record.subnet)
        if key not in node.tables:
            node.tables[key] = Table(record.family, record.topology, record.subnet)
        node.tables[key].add(record)
    elif isinstance(record, FastPathHook):
        node.hooks.setdefault(record.dev, []).append(record)


def _switching(world: World, host: str, record: Record) -> None:
    if isinstance(record, OvsPort):
        interface = _node(world, (host, HOST)).interfaces.get(record.name)
        if interface:
            interface.master, interface.port_record = record.bridge, record
            interface.options = {**interface.options, "isolated": "on" if record.is_isolated else "off"}
    elif isinstance(record, OvsFlow):
        _node(world, (host, HOST)).flows.setdefault(record.bridge, []).append(record)
    elif isinstance(record, Sysctl) and "forward" in record.key:
        node = _node(world, _key(host, record.netns))
        node.settings[record.key] = record
        if is_container_netns(record.netns) and record.key.endswith("forwarding") and record.value == "1":
            node.forwards = True
    elif isinstance(record, Uplink) and record.bridge:
        node = _node(world, (host, HOST))
        interface = node.interfaces.setdefault(record.name, NodeLink(record.name, "foreign"))
        interface.master, interface.joins, interface.port_record = record.bridge, True, record


def _take_in(world: World, host: str) -> None:
    """A bridge that has taken in the uplink has its addresses and routes."""
    node = world.nodes.get((host, HOST))
    taken = {one.name: one.master for one in node.interfaces.values() if one.joins} if node else {}
    if node and taken:
        node.addresses = [replace(held, dev=taken.get(held.dev, held.dev)) for held in node.addresses]
        node.ways = [replace(way, dev=taken.get(way.dev, way.dev)) for way in node.ways]


def _outside(world: World) -> None:
    """The world outside of real hosts, if no lab has one."""
    if OUTSIDE in world.nodes:
        return
    node = Node(OUTSIDE, "outside", is_beyond=True)
    node.interfaces["eth0"] = NodeLink("eth0", "foreign")
    for own in OUTSIDE_INTERFACES:
        node.addresses.append(Held("eth0", str(own.ip), own.network))
        node.ways.append(Way(ip_network("0.0.0.0/0" if own.version == 4 else "::/0"), "eth0"))
    world.nodes[OUTSIDE] = node


def _leases(world: World, host: str, known: HostFacts, state: HostState | None) -> None:
    """The addresses that a LAN has given to containers, and their routes there."""
    topology = world.topology
    clients = {record.container: record for record in state.records.values() if isinstance(record, Dhcp)} if state else {}
    for lease in known.leases:
        client = clients.get(lease.container)
        node = world.nodes.get((host, client.netns)) if client else None
        subnet = topology.subnets.get(lease.subnet)
        if client is None or node is None or subnet is None or node.holds(lease.address):
            continue
        cidr = next((each for each in subnet.cidrs if ip_address(lease.address) in each), None)
        if cidr is None:
            continue
        node.addresses.append(Held(client.dev, lease.address, cidr, client))
        node.ways.append(Way(cidr, client.dev, record=client))
        if client.default:
            router = next(iter(_routers(known, cidr)), "")
            everything = ip_network("0.0.0.0/0" if cidr.version == 4 else "::/0")
            node.ways.append(Way(everything, client.dev, router, record=client))


def _routers(known: HostFacts, cidr: Network) -> Iterable[str]:
    return (router for link in known.links for router in link.routers if ip_address(router) in cidr)
