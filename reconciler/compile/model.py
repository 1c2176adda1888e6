"""What a topology resolves to before it becomes records: legs, places and ports, with every address chosen.

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
from reconciler.topology.types import Party, Topology


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
class RemoteHost:
    """Another host in the same subnet, and the way there.

    `hops` are the other host's underlay addresses: of a VXLAN its end of the tunnel; of routes the next hop, one of each family
    that the subnet has.
    """

    host: str
    way: Literal["vxlan", "routes"]
    hops: tuple[str, ...]

    @property
    def is_tunnelled(self) -> bool:
        """Whether frames go there by the overlay's link, whatever its kind, and not by routes."""
        return self.way != "routes"

    def hop(self, family: int) -> str:
        """The next hop of a family."""
        return next(hop for hop in self.hops if (":" in hop) == (family == 6))


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A host's end of a subnet's VXLAN: the interface, and what it speaks with. `vteps` are the ends of all its hosts."""

    name: str
    mac: str
    vni: int
    port: int
    local: str
    vteps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lan:
    """What a leg in a LAN stands on: the host's link to it, its MTU in bytes, and who is there besides the containers."""

    uplink: str
    is_existing: bool
    """Whether `uplink` is a bridge that the host has already."""
    is_taken_in: bool
    """Whether the uplink becomes a port of the leg's own bridge."""
    mtu: int
    routers: tuple[Assigned, ...] = ()
    """The LAN's gateway, one of each family that has one."""
    own: tuple[Assigned, ...] = ()
    """The host's own addresses there."""

    def router(self, family: int) -> Assigned | None:
        """The gateway of a family."""
        return next((one for one in self.routers if one.family == family), None)


@dataclass(frozen=True, slots=True)
class Leg:
    """A host's presence in a subnet: its bridge there, and its own address of each family, the gateway of its containers.

    Where the subnet spans hosts, `peers` are the others, and `tunnel` is the way to those that are reached by VXLAN.
    """

    host: str
    subnet: str
    bridge: str
    mac: str
    mtu: int
    addresses: tuple[Assigned, ...]
    peers: tuple[RemoteHost, ...] = ()
    tunnel: Tunnel | None = None
    lan: Lan | None = None
    """Where the segment is a LAN of the host's; `addresses` are empty then, for the gateway is not the host."""
    datapath: str = ""
    """Of an Open vSwitch bridge, `system` or `netdev`; "" for a Linux bridge."""
    is_inhabited: bool = True
    """Whether somebody may be there, on any host, who remembers at which hardware address an address was before."""

    @property
    def ref(self) -> Ref:
        """Its bridge, as others depend on it."""
        return bridge_ref(self.bridge, self.datapath)

    def gateway(self, family: int) -> Assigned | None:
        """The host's own address of a family."""
        return next((own for own in self.addresses if own.family == family), None)


@dataclass(frozen=True, slots=True)
class Place:
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

    router: Place
    client: Place
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
    """All of a topology's legs (by host, then subnet), places (by container) and published ports."""

    legs: Mapping[str, Mapping[str, Leg]]
    places: Mapping[str, tuple[Place, ...]]
    ports: tuple[ResolvedPort, ...]
    members: Mapping[tuple[str, str], tuple[Place, ...]] = field(default_factory=dict)
    """The places of each host in each subnet, by (host, subnet)."""
    containers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of each host's containers."""
    parties: frozenset[Party] = frozenset()
    """Whom policies between subnets name."""
    askers: Mapping[str, frozenset[Party]] = field(default_factory=dict)
    """By subnet: whom policies let speak to somebody in it."""
    forwards: tuple[Forward, ...] = ()
    """What containers forward as the next hop of others' static routes."""

    def leg_of(self, place: Place) -> Leg:
        """The leg of the place's host in the place's subnet."""
        return self.legs[place.host][place.subnet]


def is_named(topology: Topology, place: Place, parties: frozenset[Party]) -> bool:
    """Whether the container of the place, or its subnet, is one of the parties."""
    origin = topology.containers[place.container].origin
    return Party("subnet", place.subnet) in parties or Party("container", origin) in parties
