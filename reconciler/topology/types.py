"""A topology as plain values: what the file says, its defaults filled in, its short forms spelled out, its replicas expanded.

`topology.load` makes it from a file and has checked it; `compile`, `probes` and `render` use it. Nothing here depends on the
live state: an address that the file leaves open is None (`auto`), a gateway likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from reconciler.errors import Position
from reconciler.state.container_spec import ContainerSpec

IPAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
CONNECTIONS, CONNECTIONS_MIN, CONNECTIONS_MAX = 8192, 16, 1_000_000
"""How many connections a container may have at once, if the file does not say: an eighth of what a host with 1 GB of memory can
track (nf_conntrack_max), so that no container alone fills the table; and what a file may say."""
Path = tuple[str | int, ...]
"""Where a value stands in the file: ("containers", "web", "expose", 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """How a host is reached: `local`, `lab`, or `ssh` with user, name and port."""

    scheme: Literal["local", "lab", "ssh"]
    user: str = ""
    name: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host. `addresses` are where other hosts reach it; `uplink` and the engines are "" if the file does not name them."""

    name: str
    connect: Connect
    addresses: tuple[IPAddress, ...] = ()
    uplink: str = ""
    docker: str = ""
    podman: str = ""
    lxc: str = ""
    openvswitch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet: one segment with one prefix per family."""

    name: str
    cidrs: tuple[Network, ...]
    mode: Literal["nat", "routed", "isolated", "direct", "macvlan"] = "nat"
    overlay: Literal["vxlan", "routes", "auto", "none"] = "vxlan"
    bridge: Literal["linux", "openvswitch"] = "linux"
    mtu: int | None = None
    hosts: tuple[str, ...] = ()
    gateways: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    """By host name; the key "" stands for the first host (a plain `gateway:` address)."""
    vni: int | None = None
    vxlan_port: int = 4789
    uplink: str = ""
    """Of mode direct or macvlan: the interface to the LAN; "" is the host's."""
    existing_bridge: str = ""
    """Of mode direct: a bridge that the host has already, used as it is; "" if netctl creates one."""
    macvlan: Literal["bridge", "vepa", "private", "passthru"] = "bridge"
    hairpin: bool = False
    datapath: Literal["", "system", "netdev"] = ""
    """Of an Open vSwitch bridge; "" is what the host has."""

    @property
    def is_lan(self) -> bool:
        """Whether its segment is the LAN that the host's uplink is on, so that neither range nor gateway is netctl's."""
        return self.mode in ("direct", "macvlan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A container's endpoint in a subnet. For each family an address, or none if it is `auto`."""

    subnet: str
    addresses: tuple[IPAddress, ...] = ()
    auto: tuple[Literal[4, 6], ...] = ()
    """The families for which an address is to be chosen."""
    mac: str = ""
    interface: str = ""
    """The name of the interface inside; already settled (`eth0`, `eth1` …)."""
    default: bool = False
    """Whether the default routes lead here; one attachment of a container says so at most."""
    dhcp: bool = False
    """Whether the LAN gives it its addresses."""
    allow: tuple[Literal["dhcp-server", "router-advertisements"], ...] = ()
    hairpin: bool | None = None
    isolated: bool = False
    rates: tuple[int, int] = (0, 0)
    """What it may get and send, in bytes a second; 0 for no limit."""
    mtu: int | None = None
    routes: tuple[tuple[Network, IPAddress], ...] = ()
    """Destination and next hop."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Keys with IFNAME in the place of the interface."""
    declines: bool = False
    """Whether no default route may lead here, of either family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A published port, or a range of equal length on both sides, of one protocol.

    `address` None is every address of the host, of both families the container has. `sources` empty admits every source.
    `hosts` are the hosts it is published on; `subnet` is the network of the container that it leads to.
    """

    protocol: Literal["tcp", "udp", "sctp"]
    address: IPAddress | None
    port: int
    to_port: int
    count: int = 1
    sources: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    subnet: str = ""
    path: Path = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container; replicas are expanded, and each knows the name it stands for in the file (`origin`)."""

    name: str
    origin: str
    host: str
    engine_name: str
    spec: ContainerSpec
    """For `runtime: netns`, only `command` and `env` are used."""
    existing: bool
    attachments: tuple[Attachment, ...]
    publications: tuple[Publication, ...] = ()
    connections: int = CONNECTIONS
    """How many entries of connection tracking it may have on each of its networks."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports that a policy opens."""

    protocol: Literal["tcp", "udp", "sctp"]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a policy: a container by its name in the file (all its replicas), a subnet, the hosts, or the outside."""

    kind: Literal["container", "subnet", "host", "outside"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may pass from one party to another; `ports` empty means everything."""

    source: Party
    target: Party
    ports: tuple[PortRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole topology, checked. Mappings keep the order of the file."""

    name: str
    hosts: Mapping[str, Host]
    subnets: Mapping[str, Subnet]
    containers: Mapping[str, Container]
    policies: tuple[Policy, ...]
    path: str = ""
    source: str = ""
    positions: Mapping[Path, Position] = field(default_factory=dict, repr=False, compare=False)

    def position(self, path: Path) -> Position:
        """Where the value at `path` stands, or the nearest thing around it; line 1 if nothing does."""
        while path:
            if path in self.positions:
                return self.positions[path]
            path = path[:-1]
        return Position(1, 1)
