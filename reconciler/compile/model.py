"""The resolved form of a topology before it becomes records: host subnets, endpoints and ports, with every address chosen.

`compile.resolve` creates it. `compile.host` and `compile.firewall` read it. So do probes, status and rendering, which
need the location of a container and not its records. Plain data: text and numbers.
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
    """An assigned address and its prefix: `10.44.0.10` of `10.44.0.0/24`."""

    family: int
    address: str
    network: str

    @property
    def cidr(self) -> str:
        """The address with its prefix length, for an interface: `10.44.0.10/24`."""
        return f"{self.address}/{self.network.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class RemoteHost:
    """Another host in the same subnet, and the path to it.

    `hops` are underlay addresses of the other host. By a tunnel, it is the remote end. By routes, they are the next hops, one of
    each family that the subnet has.
    """

    host: str
    overlay: Literal["tunnel", "routes"]
    hops: tuple[str, ...]

    @property
    def is_tunnelled(self) -> bool:
        """Whether frames go there by a tunnel, whatever its kind, and not by routes."""
        return self.overlay == "tunnel"

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
    """The LAN of a host subnet: the host's link to it, its MTU in bytes, and the other nodes there."""

    uplink: str
    is_existing: bool
    """Whether `uplink` is an existing bridge of the host."""
    is_taken_in: bool
    """Whether the uplink becomes a port of the host subnet's own bridge."""
    mtu: int
    routers: tuple[Assigned, ...] = ()
    """The LAN's gateways, at most one of each family."""
    own: tuple[Assigned, ...] = ()
    """The host's own addresses there."""

    def router(self, family: int) -> Assigned | None:
        """The gateway of a family."""
        return next((one for one in self.routers if one.family == family), None)


@dataclass(frozen=True, slots=True)
class HostSubnet:
    """A host's presence in a subnet: its bridge there, and its own address of each family, the gateway of its containers.

    If the subnet spans hosts, `peers` are the others, and `tunnels` lead to those that are not reached by routes.
    """

    host: str
    subnet: str
    bridge: str
    mac: str
    mtu: int
    addresses: tuple[Assigned, ...]
    peers: tuple[RemoteHost, ...] = ()
    tunnels: tuple[TunnelEnd, ...] = ()
    lan: Lan | None = None
    """The LAN of the host, if the segment is one; `addresses` are empty then, because the host is not the gateway."""
    kind: BridgeKind = "linux"
    """Of its bridge."""
    is_inhabited: bool = True
    """Whether any node on any host may remember the previous hardware address of an address."""

    @property
    def ref(self) -> Ref:
        """The identity of its bridge, for records that depend on it."""
        return bridge_ref(self.kind, self.bridge)

    def tunnel_to(self, peer: RemoteHost) -> TunnelEnd:
        """The tunnel that leads to a tunnelled peer."""
        return next(tunnel for tunnel in self.tunnels if peer.hops[0] in tunnel.remotes)

    def gateway(self, family: int) -> Assigned | None:
        """The host's own address of a family."""
        return next((own for own in self.addresses if own.family == family), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's presence in a subnet: its `interface`, its `port` of the bridge, and its addresses.

    `defaults` are the families whose default route leads here: those of the network that the file says. If that lacks a
    family, the first listed network with that family has the route.
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
    """`router` forwards packets from `prefix` to `target`, an address of `client`, which has a route to the prefix via it."""

    router: Endpoint
    client: Endpoint
    prefix: str
    target: str


@dataclass(frozen=True, slots=True)
class ResolvedPort:
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
    """All of a topology's host subnets (by host, then subnet), endpoints (by container) and published ports."""

    host_subnets: Mapping[str, Mapping[str, HostSubnet]]
    endpoints: Mapping[str, tuple[Endpoint, ...]]
    ports: tuple[ResolvedPort, ...]
    members: Mapping[tuple[str, str], tuple[Endpoint, ...]] = field(default_factory=dict)
    """The endpoints of each host in each subnet, by (host, subnet)."""
    containers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of each host's containers."""
    parties: frozenset[Party] = frozenset()
    """The parties of policies between subnets."""
    askers: Mapping[str, frozenset[Party]] = field(default_factory=dict)
    """By subnet: the parties that policies allow to connect to a node in it."""
    forwards: tuple[Forward, ...] = ()
    """The packets that containers forward as the next hop of other containers' static routes."""

    def host_subnet_of(self, endpoint: Endpoint) -> HostSubnet:
        """The host subnet of the endpoint's host in the endpoint's subnet."""
        return self.host_subnets[endpoint.host][endpoint.subnet]


def is_named(topology: Topology, endpoint: Endpoint, parties: frozenset[Party]) -> bool:
    """Whether the endpoint's container, or its subnet, is one of the parties."""
    origin = topology.containers[endpoint.container].origin
    return Party("subnet", endpoint.subnet) in parties or Party("container", origin) in parties
