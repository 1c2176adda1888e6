"""The nodes of a topology as records describe them: containers, hosts, and in a lab its router and the world outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from reconciler.explain.flows import FlowRecord
from reconciler.explain.rules import ParsedChain
from reconciler.explain.tables import Table
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.firewall.fast_path import FastPathHook
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.lab import OUTSIDE_NETNS
from reconciler.state.record import Record
from reconciler.state.ref import HOST, LAB, container_netns
from reconciler.topology.types import Topology

NodeKey = tuple[str, str]
"""A host and a namespace on it; a lab host is itself, and the lab's other members are on `lab`."""
OUTSIDE: NodeKey = (LAB, OUTSIDE_NETNS)
"""The world outside. Beside real hosts it stands for any machine behind their uplinks."""
Network = IPv4Network | IPv6Network
InterfaceSort = Literal["cable", "bridge", "switch", "tunnel", "stacked", "foreign"]


@dataclass(slots=True)
class NodeLink:
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
    interfaces: dict[str, NodeLink] = field(default_factory=dict)
    addresses: list[Held] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    neighbors: dict[tuple[str, str], Neighbor] = field(default_factory=dict)
    proxies: dict[tuple[str, str], Neighbor] = field(default_factory=dict)
    fdb: dict[tuple[str, str], list[Fdb]] = field(default_factory=dict)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    hooks: dict[str, list[FastPathHook]] = field(default_factory=dict)
    flows: dict[str, list[FlowRecord]] = field(default_factory=dict)
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
        return next(iter((*inside, *near)), "")

    def chains(self, family: str, hook: str) -> Iterator[tuple[Table, ParsedChain]]:
        """The base chains of netctl's at a hook, in the order of their priorities, with their table."""
        if table := self.tables.get((family, "")):
            yield from ((table, chain) for chain in table.chains(hook))

    def ports(self, bridge: str) -> Iterator[NodeLink]:
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

    def outer_addresses(self, host: str) -> list[str]:
        """The addresses at which others reach a host: those of the file, else those of its uplink."""
        declared = [str(address) for address in self.topology.hosts[host].addresses]
        uplink, node = self.uplink(host), self.nodes[host, HOST]
        devs = (uplink.name, uplink.master) if uplink else ()
        return declared or [held.address for held in node.addresses if held.dev in devs]

    def neighbour_host(self, mac: str) -> str:
        """The host by whose uplink a hardware address is reached; "" if it is not the topology's."""
        return self.macs[mac][0][0] if mac in self.macs else ""

    def is_on_lan(self, mac: str) -> bool:
        """Whether frames for the hardware address are taken in at the uplink of a host, without its network stack."""
        key, name = self.macs.get(mac, (OUTSIDE, ""))
        interface = self.nodes[key].interfaces.get(name)
        if interface is None:
            return False
        if interface.sort == "stacked":
            return True
        peer = self.nodes[interface.peer[0]] if interface.peer else None
        port = peer.interfaces.get(interface.peer[1]) if peer and interface.peer else None
        return bool(peer and port and any(one.joins or one.sort == "foreign" for one in peer.ports(port.master) if port.master))

    def lan_entry(self, host: str, mac: str) -> NodeLink | None:
        """The link of a host at which frames of the LAN for a hardware address come in; None if it is not known."""
        key, name = self.macs.get(mac, ((host, HOST), ""))
        found, node = self.nodes[key].interfaces.get(name), self.nodes[host, HOST]
        if found and found.lower:
            return node.interfaces.get(found.lower)
        if found and found.peer and key[0] == host and (port := node.interfaces.get(found.peer[1])):
            joined = (one for one in node.ports(port.master) if port.master and (one.joins or one.sort == "foreign"))
            return next(joined, None) or self.uplink(host)
        return found if found and key == node.key and found.sort == "foreign" else self.uplink(host)

    def uplink(self, host: str) -> NodeLink | None:
        """The link of a host to the others."""
        node = self.nodes.get((host, HOST))
        found = (one for one in node.interfaces.values() if one.sort == "foreign" or _is_lab_cable(one)) if node else iter(())
        return next((one for one in found if one.peer or one.sort == "foreign"), None)


def _is_lab_cable(interface: NodeLink) -> bool:
    return interface.peer is not None and interface.peer[0][0] == LAB
