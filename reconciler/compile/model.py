"""What a topology resolves to before it becomes records: host subnets, places and ports, with every address chosen.

Made by `compile.resolve`; read by `compile.host` and `compile.firewall`, and by probes, status and rendering, which want to know
where a container is and not which records bring it there. Plain data: text and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.kinds.bridges import bridge_ref
from reconciler.state.foreign import TransportProtocol
from reconciler.state.ref import Ref
from reconciler.topology.types import BridgeKind, Party, Topology


@dataclass(frozen=True, slots=True)
class Assigned:
    """An address that somebody has, and the prefix that it is in: `10.44.0.10` of `10.44.0.0/24`."""

    family: int
    address: str
    network: str

    @property
    def cidr(self) -> str:
        """As it is set on an interface: `10.44.0.10/24`."""
        return f"{self.address}/{self.network.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host in the same subnet, and the way there.

    `hops` are the other host's underlay addresses: its end of the tunnel; or of routes the next hop, one of each family that the
    subnet has.
    """

    host: str
    way: Literal["tunnel", "routes"]
    hops: tuple[str, ...]

    @property
    def is_tunnelled(self) -> bool:
        """Whether frames go there by a tunnel, whatever its kind, and not by routes."""
        return self.way == "tunnel"

    def hop(self, family: int) -> str:
        """The next hop of a family."""
        return next(hop for hop in self.hops if (":" in hop) == (family == 6))


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """A host's end of a tunnel: its link, and the underlay addresses of this end and of those at which it reaches other hosts."""

    ref: Ref
    mac: str
    local: str
    remotes: tuple[str, ...]
    number: int
    """What keeps the tunnels of different subnets apart."""
    port: int = 0
    """Of its packets; 0 if they have none."""

    @property
    def name(self) -> str:
        """The name of its link."""
        return self.ref.name


@dataclass(frozen=True, slots=True)
class Lan:
    """What a host subnet in a LAN stands on: the host's link to it, its MTU in bytes, and who is there besides the containers."""

    uplink: str
    is_existing: bool
    """Whether `uplink` is a bridge that the host has already."""
    is_taken_in: bool
    """Whether the uplink becomes a port of the host subnet's own bridge."""
    mtu: int
    routers: tuple[Assigned, ...] = ()
    """The LAN's gateway, one of each family that has one."""
    own: tuple[Assigned, ...] = ()
    """The host's own addresses there."""

    def router(self, family: int) -> Assigned | None:
        """The gateway of a family."""
        return next((one for one in self.routers if one.family == family), None)


@dataclass(frozen=True, slots=True)
class HostSubnet:
    """A host's presence in a subnet: its bridge there, and its own address of each family, the gateway of its containers.

    Where the subnet spans hosts, `peers` are the others, and `tunnels` lead to those that are not reached by routes.
    """

    host: str
    subnet: str
    bridge: str
    mac: str
    mtu: int
    addresses: tuple[Assigned, ...]
    peers: tuple[Peer, ...] = ()
    tunnels: tuple[TunnelEnd, ...] = ()
    lan: Lan | None = None
    """Where the segment is a LAN of the host's; `addresses` are empty then, for the gateway is not the host."""
    kind: BridgeKind = "linux"
    """Of its bridge."""
    datapath: str = ""
    """Of an Open vSwitch bridge, `system` or `netdev`; "" for any other."""
    is_inhabited: bool = True
    """Whether somebody may be there, on any host, who remembers at which hardware address an address was before."""

    @property
    def ref(self) -> Ref:
        """Its bridge, as others depend on it."""
        return bridge_ref(self.kind, self.bridge)

    def tunnel_to(self, peer: Peer) -> TunnelEnd:
        """The tunnel that leads to a tunnelled peer."""
        return next(tunnel for tunnel in self.tunnels if peer.hops[0] in tunnel.remotes)

    def gateway(self, family: int) -> Assigned | None:
        """The host's own address of a family."""
        return next((own for own in self.addresses if own.family == family), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's presence in a subnet: its `interface`, the `port` of the bridge that it hangs on, and its addresses.

    `defaults` are the families whose default route leads here: those of the network that the file says, and where that lacks
    a family, of the first network listed that has it.
    """

    container: str
    host: str
    subnet: str
    interface: str
    port: str
    mac: str
    addresses: tuple[Assigned, ...]
    defaults: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """`router` hands on packets from `prefix` to `target`, an address of `client`, which has a route to the prefix by it."""

    router: Endpoint
    client: Endpoint
    prefix: str
    target: str


@dataclass(frozen=True, slots=True)
class Port:
    """One published port, of one family, on one host. `listen` "" is every address of the host; no `sources`, every source."""

    host: str
    container: str
    subnet: str
    family: int
    protocol: TransportProtocol
    listen: str
    port: int
    target: str
    to_port: int
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """All of a topology's host subnets (by host, then subnet), places (by container) and published ports."""

    host_subnets: Mapping[str, Mapping[str, HostSubnet]]
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    ports: tuple[Port, ...]
    members: Mapping[tuple[str, str], tuple[Endpoint, ...]] = field(default_factory=dict)
    """The places of each host in each subnet, by (host, subnet)."""
    containers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of each host's containers."""
    parties: frozenset[Party] = frozenset()
    """Whom policies between subnets name."""
    askers: Mapping[str, frozenset[Party]] = field(default_factory=dict)
    """By subnet: whom policies let speak to somebody in it."""
    forwards: tuple[Forward, ...] = ()
    """What containers forward as the next hop of others' static routes."""

    def host_subnet_of(self, endpoint: Endpoint) -> HostSubnet:
        """The host subnet of the place's host in the place's subnet."""
        return self.host_subnets[endpoint.host][endpoint.subnet]


def is_named(topology: Topology, endpoint: Endpoint, parties: frozenset[Party]) -> bool:
    """Whether the container of the place, or its subnet, is one of the parties."""
    origin = topology.containers[endpoint.container].origin
    return Party("subnet", endpoint.subnet) in parties or Party("container", origin) in parties
