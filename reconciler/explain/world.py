"""The nodes of a topology as records describe them: containers, hosts, and in a lab its router and the world outside.

A real host has links, addresses and routes that are not netctl's. Its facts say what is known of them; from the file alone
it is one uplink with the addresses of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Literal

from reconciler.compile.underlay import underlay_of, uplink_of
from reconciler.explain.tables import Table
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.bridges import BRIDGES
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsPort
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts, HostState
from reconciler.state.lab import OUTSIDE_INTERFACES, OUTSIDE_NETNS
from reconciler.state.record import Record
from reconciler.state.ref import HOST, LAB, container_netns, container_of, is_container_netns, is_lab_netns, lab_member_of
from reconciler.topology.types import Topology

NodeKey = tuple[str, str]
"""A host and a namespace on it; a lab host is itself, and the lab's other members are on `lab`."""
OUTSIDE: NodeKey = (LAB, OUTSIDE_NETNS)
"""The world outside. Beside real hosts it stands for any machine behind their uplinks."""
Network = IPv4Network | IPv6Network
InterfaceSort = Literal["cable", "bridge", "switch", "tunnel", "macvlan", "foreign"]


@dataclass(slots=True)
class Interface:
    """A link in a node. `sort` says how frames leave by it; `kind` is the kernel's word for it."""

    name: str
    sort: InterfaceSort
    kind: str = ""
    mac: str = ""
    record: Record | None = None
    master: str = ""
    """The bridge of which it is a port; "" if of none."""
    peer: tuple[NodeKey, str] | None = None
    """The other end of a cable."""
    lower: str = ""
    group: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    """Its options as a port."""
    is_up: bool = True
    joins: bool = False
    """Whether it is an uplink that a bridge has taken in."""
    port_record: Record | None = None
    """What says that it is a port, if its own record does not."""

    @property
    def is_isolated(self) -> bool:
        """Whether it is an isolated port."""
        return self.options.get("isolated") == "on"

    @property
    def learns(self) -> bool:
        """Whether its bridge learns addresses from it, and sends frames for unknown addresses to it."""
        return self.joins or self.sort == "foreign" or self.options.get("flood") == "on"


@dataclass(frozen=True, slots=True)
class Held:
    """An address of a node, on one of its links."""

    dev: str
    address: str
    network: Network
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A route. `record` is None if it is not netctl's."""

    network: Network
    dev: str
    via: str = ""
    source: str = ""
    metric: int = 0
    record: Record | None = None


@dataclass(slots=True)
class Node:
    """A network stack, as far as it is known."""

    key: NodeKey
    name: str
    is_host: bool = False
    forwards: bool = False
    interfaces: dict[str, Interface] = field(default_factory=dict)
    addresses: list[Held] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    neighbors: dict[tuple[str, str], Neighbor] = field(default_factory=dict)
    proxies: dict[tuple[str, str], Neighbor] = field(default_factory=dict)
    fdb: dict[tuple[str, str], list[Fdb]] = field(default_factory=dict)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    hooks: dict[str, list[FastPathHook]] = field(default_factory=dict)
    flows: dict[str, list[OvsFlow]] = field(default_factory=dict)
    settings: dict[str, Sysctl] = field(default_factory=dict)
    is_beyond: bool = False
    """Whether it stands for machines that are not the topology's."""

    @property
    def host(self) -> str:
        """The host that it is on."""
        return self.key[0]

    @property
    def netns(self) -> str:
        """Its namespace there."""
        return self.key[1]

    def holds(self, address: str) -> bool:
        """Whether the address is its own."""
        return ip_address(address).is_loopback or any(held.address == address for held in self.addresses)

    def route(self, target: str) -> Way | None:
        """Its route to an address: the longest prefix, then the smallest metric; None if it has none."""
        address = ip_address(target)
        found = [way for way in self.ways if address in way.network and way.dev in self.interfaces]
        return min(found, key=lambda way: (-way.network.prefixlen, way.metric), default=None)

    def source(self, way: Way, target: str) -> str:
        """The source address of a packet that it sends by a route; "" if it has none of the family."""
        if way.source:
            return way.source
        family = ip_address(target).version
        near = [held.address for held in self.addresses if held.dev == way.dev and held.network.version == family]
        hop = ip_address(way.via or target)
        inside = [held.address for held in self.addresses if held.dev == way.dev and hop in held.network]
        others = [held.address for held in self.addresses if held.network.version == family]
        return next(iter((*inside, *near, *others)), "")

    def ports(self, bridge: str) -> Iterator[Interface]:
        """The ports of a bridge."""
        return (interface for interface in self.interfaces.values() if interface.master == bridge)


@dataclass(slots=True)
class World:
    """All nodes, and who has which address."""

    topology: Topology
    nodes: dict[NodeKey, Node] = field(default_factory=dict)
    owners: dict[str, tuple[NodeKey, str]] = field(default_factory=dict)
    """By address: the node that has it, and the link there."""
    macs: dict[str, tuple[NodeKey, str]] = field(default_factory=dict)
    """The same by hardware address."""
    is_file_only: bool = False

    def container(self, name: str) -> Node:
        """The node of a container, maybe one whose network it shares; without links if it is not there."""
        container = self.topology.containers[name]
        return self.nodes[container.host, container_netns(container.share or name)]

    def neighbour_host(self, mac: str) -> str:
        """The host by whose uplink a hardware address is reached; "" if it is not the topology's."""
        return self.macs[mac][0][0] if mac in self.macs else ""

    def is_on_lan(self, mac: str) -> bool:
        """Whether frames for the hardware address are taken in at the uplink of a host, without its network stack."""
        key, name = self.macs.get(mac, (OUTSIDE, ""))
        interface = self.nodes[key].interfaces.get(name)
        if interface is None:
            return False
        if interface.sort == "macvlan":
            return True
        peer = self.nodes[interface.peer[0]] if interface.peer else None
        port = peer.interfaces.get(interface.peer[1]) if peer and interface.peer else None
        return bool(peer and port and any(one.joins or one.sort == "foreign" for one in peer.ports(port.master) if port.master))

    def uplink(self, host: str) -> Interface | None:
        """The link of a host to the others."""
        node = self.nodes.get((host, HOST))
        found = (one for one in node.interfaces.values() if one.sort == "foreign" or _is_lab_cable(one)) if node else iter(())
        return next((one for one in found if one.peer or one.sort == "foreign"), None)


def _is_lab_cable(interface: Interface) -> bool:
    return interface.peer is not None and interface.peer[0][0] == LAB


def build_world(topology: Topology, states: Mapping[str, HostState], facts: Mapping[str, HostFacts]) -> World:
    """The nodes that the records of all hosts describe. A host without facts is known from the file alone."""
    world = World(topology, is_file_only=not any(known.exists for known in facts.values()))
    for host in topology.hosts.values():
        _node(world, (host.name, HOST))
        if host.connect.scheme != "lab":
            _foreign(world, host.name, facts.get(host.name))
    for container in topology.containers.values():
        _node(world, (container.host, container_netns(container.share or container.name)))
    for step in (_links, _addressing, _firewall, _switching):  # the other end of a lab host's uplink is in the lab's state
        for host, state in states.items():
            for record in state.records.values():
                step(world, host, record)
    for host in states:
        _take_in(world, host)
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


def _key(host: str, netns: str) -> NodeKey:
    member = lab_member_of(netns)
    return (member, HOST) if member and netns not in (OUTSIDE_NETNS,) and member != "router" else (host, netns)


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
        node.interfaces[link.name] = Interface(link.name, sort, link.kind, link.mac, master=link.master)
        for cidr in link.addresses:
            _hold(node, link.name, cidr, None)
    if uplink not in node.interfaces:
        node.interfaces[uplink] = Interface(uplink, "foreign", "", known.uplink_mac if known else "")
    declared = underlay_of(host, known)
    for own in declared:
        if not any(held.address == own.address for held in node.addresses):
            _hold(node, uplink, f"{own.address}/{ip_network(own.network).prefixlen}", None)
    link_facts = next((link for link in known.links if link.name == uplink), None) if known else None
    routers = {ip_address(router).version: router for router in reversed(link_facts.routers)} if link_facts else {}
    for family, everything in ((4, "0.0.0.0/0"), (6, "::/0")):
        node.ways.append(Way(ip_network(everything), uplink, routers.get(family, ""), metric=1 << 31))


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
        near = Interface(
            record.name, "cable", "veth", "", record, record.master, (there, record.peer_name), group=record.group, options=options
        )
        far = Interface(record.peer_name, "cable", "veth", record.mac, record, "", (here, record.name))
        near.is_up = far.is_up = record.up
        _node(world, here).interfaces[record.name] = near
        _node(world, there).interfaces[record.peer_name] = far
        if record.netns == HOST and record.master and record.master not in _node(world, here).interfaces:
            _node(world, here).interfaces.setdefault(record.master, Interface(record.master, "bridge", "bridge"))
    elif isinstance(record, tuple(BRIDGES.values())):
        is_linux = isinstance(record, BRIDGES["linux"])
        kind = "bridge" if is_linux else "openvswitch"
        made = Interface(record.name, "bridge" if is_linux else "switch", kind, record.mac, record, group=record.group)
        made.is_up = record.up
        _node(world, _key(host, record.netns)).interfaces[record.name] = made
    elif isinstance(record, Tunnel):
        made = Interface(record.name, "tunnel", record.kind, record.mac, record, record.master, group=record.group)
        made.is_up, made.options = record.up, dict(record.port_options)
        _node(world, _key(host, record.netns)).interfaces[record.name] = made
    elif isinstance(record, Macvlan):
        made = Interface(record.name, "macvlan", record.kind, record.mac, record, lower=record.lower, group=record.group)
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
        node.tables.setdefault((record.family, record.subnet), Table(record.family, record.topology, record.subnet))
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
        interface = node.interfaces.setdefault(record.name, Interface(record.name, "foreign"))
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
    node.interfaces["eth0"] = Interface("eth0", "foreign")
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
