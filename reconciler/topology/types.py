"""A topology as plain values: the content of the file, with defaults, expanded short forms and expanded replicas.

`topology.load` creates and checks it from a file; `compile`, `probes` and `render` use it. It does not depend on the
live state: an address that the file leaves open is None (`auto`), and so is a gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from reconciler.errors import Position
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.foreign import TransportProtocol
from reconciler.state.members import Selector
from reconciler.state.subject import Subject

VXLAN_PORT = 4789
"""The usual UDP port of a VXLAN (IANA)."""

IPAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
CONNECTIONS, CONNECTIONS_MIN, CONNECTIONS_MAX = 8192, 16, 1_000_000
"""A container's default limit of concurrent connections, and the limits of the file's value.

The default is an eighth of the connections that a host with 1 GB of memory can track (nf_conntrack_max). So no
container alone fills the table.
"""
BridgeKind = Literal["linux", "openvswitch"]
"""The kinds of bridges that netctl creates."""
TunnelKind = Literal["vxlan"]
"""The kinds of tunnels between hosts."""
DEFAULT_TUNNEL: TunnelKind = "vxlan"
OverlayKey = Literal[TunnelKind, "routes", "auto", "none"]
"""How a subnet spans hosts: by tunnels, by routes, or with `auto` by routes where they lead, else by tunnels."""
SubnetMode = Literal["nat", "routed", "isolated", "direct", "macvlan"]
"""What connects a subnet to other networks."""
Upstream = tuple[str, ...]
"""The servers that a resolver asks for other names: addresses, or UPSTREAM_HOST alone; empty for none."""
UPSTREAM_HOST = "host"
"""The servers of the host's own /etc/resolv.conf."""
Path = tuple[str | int, ...]
"""The path of a value in the file: ("containers", "web", "ports", 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """The destination of a host: `local`, `lab`, or `ssh` with user, name and port."""

    scheme: Literal["local", "lab", "ssh"]
    user: str = ""
    name: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host. `addresses` are where other hosts reach it; `uplink` is "" if the file does not name it."""

    name: str
    connect: Connect
    addresses: tuple[IPAddress, ...] = ()
    uplink: str = ""
    engines: Mapping[str, str] = field(default_factory=dict)
    """Where an engine listens, by the runtime that it serves, if the file says so."""
    openvswitch: str = ""


@dataclass(frozen=True, slots=True)
class Dns:
    """The names of a topology: their domain, who answers for others, and for how many seconds an answer may be remembered."""

    domain: str
    upstream: Upstream = (UPSTREAM_HOST,)
    ttl_s: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet: one segment with one prefix per family."""

    name: str
    cidrs: tuple[Network, ...]
    mode: SubnetMode = "nat"
    overlay: OverlayKey = DEFAULT_TUNNEL
    bridge: BridgeKind = "linux"
    mtu: int | None = None
    hosts: tuple[str, ...] = ()
    gateways: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)
    """By host name; the key "" stands for the first host (a plain `gateway:` address)."""
    vni: int | None = None
    vxlan_port: int = VXLAN_PORT
    uplink: str = ""
    """Of mode direct or macvlan: the interface to the LAN; "" is the host's."""
    existing_bridge: str = ""
    """Of mode direct: an existing bridge of the host, used unchanged; "" if netctl creates one."""
    macvlan: Literal["bridge", "vepa", "private", "passthru"] = "bridge"
    hairpin: bool = False
    datapath: Literal["", "system", "netdev"] = ""
    """The datapath of an Open vSwitch bridge; "" is the host's default."""
    upstream: Upstream | None = None
    """Of its resolvers; None for the topology's."""

    @property
    def tunnel(self) -> TunnelKind | Literal[""]:
        """The kind of its tunnels; "" if it can have none."""
        match self.overlay:
            case "auto":
                return DEFAULT_TUNNEL
            case "routes" | "none":
                return ""
            case kind:
                return kind

    @property
    def is_lan(self) -> bool:
        """Whether its segment is the LAN of the host's uplink, so that netctl chooses neither range nor gateway."""
        return self.mode in ("direct", "macvlan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A container's endpoint in a subnet. For each family an address, or none if it is `auto`."""

    subnet: str
    addresses: tuple[IPAddress, ...] = ()
    auto: tuple[Literal[4, 6], ...] = ()
    """The families for which netctl chooses an address."""
    mac: str = ""
    interface: str = ""
    """The name of the interface in the container, already chosen (`eth0`, `eth1` …)."""
    default: bool = False
    """Whether it has the default routes; at most one attachment of a container says so."""
    dhcp: bool = False
    """Whether the LAN gives it its addresses."""
    allow: tuple[Literal["dhcp-server", "router-advertisements"], ...] = ()
    hairpin: bool | None = None
    isolated: bool = False
    rates: tuple[int, int] = (0, 0)
    """The limits of what it receives and sends, in bytes per second; 0 for no limit."""
    mtu: int | None = None
    routes: tuple[tuple[Network, IPAddress], ...] = ()
    """Destination and next hop."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Keys with IFNAME in place of the interface."""
    declines: bool = False
    """Whether it must not have a default route of either family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A published port, or a range of equal length on both sides, of one protocol.

    `address` None is every address of the host, of both families the container has. `sources` empty admits every
    source. `hosts` are the hosts it is published on; `subnet` is the container's network that it leads to.
    """

    protocol: TransportProtocol
    address: IPAddress | None
    port: int
    to_port: int
    count: int = 1
    sources: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    subnet: str = ""
    path: Path = ()


HOST_GATEWAY = "host-gateway"
"""Compose's word, among `extra_hosts`, for the address at which a container reaches its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container; replicas are expanded, and each has the name in the file that it replicates (`origin`)."""

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
    """The limit of its entries in connection tracking on each of its networks."""
    aliases: tuple[str, ...] = ()
    """More names of its own addresses, in its hosts file."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """Names and addresses of others there; an address may be `host-gateway`."""
    share: str = ""
    """The container whose network it has; it has none of its own then."""
    is_named: bool = True
    """Whether it has names in the topology's domain, if there is one."""
    dns_aliases: tuple[str, ...] = ()
    """More names there."""
    number: int | None = None
    """Of a member: the number that Compose gave it, or 0. None if labels do not select it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The containers of another program that labels select; `container` is what each of them is, apart from its names."""

    container: Container
    selector: Selector


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports that a policy opens."""

    protocol: TransportProtocol
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Party:
    """One end of a policy: a container by its name in the file (all its replicas), a subnet, the hosts, or the outside."""

    kind: Literal["container", "subnet", "host", "outside"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The traffic that may pass from one party to another; `ports` empty means all."""

    source: Party
    target: Party
    ports: tuple[PortRange, ...] = ()

    @property
    def subject(self) -> Subject:
        """The policy as the owner of what the firewall has for it."""
        return Subject.policy(self.source.name or self.source.kind, self.target.name or self.target.kind)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole topology, checked. Mappings keep the order of the file."""

    name: str
    hosts: Mapping[str, Host]
    subnets: Mapping[str, Subnet]
    containers: Mapping[str, Container]
    policies: tuple[Policy, ...]
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    """The containers of the file that labels select. `containers` has their members as soon as the hosts are read."""
    dns: Dns | None = None
    """None without names."""
    repair: Literal["network", "all"] = "network"
    """Whether an agent also starts and creates an engine's containers that were stopped or removed."""
    path: str = ""
    env_files: tuple[str, ...] = ()
    """The files of variables, whose relative paths begin at the directory of `path`."""
    source: str = ""
    positions: Mapping[Path, Position] = field(default_factory=dict, repr=False, compare=False)
    renamed: tuple[Position, ...] = field(default=(), repr=False, compare=False)
    """The positions of keys that the file gives an old name."""

    @property
    def declared(self) -> tuple[Container, ...]:
        """The containers, and one for each pattern, as if it had a member with the name of the pattern."""
        return (*self.containers.values(), *(pattern.container for pattern in self.patterns.values()))

    def place(self, path: Path) -> str:
        """The place of the value at `path`, in front of a sentence: `topology.yaml:14:3: `; "" without a file."""
        position = self.position(path)
        return f"{self.path}:{position.line}:{position.column}: " if self.path else ""

    def may_have(self, name: str) -> bool:
        """Whether a container, or a member that is not known yet, can have the name in the file or the topology."""
        return (
            name in self.containers
            or name in self.patterns
            or any(pattern.selector.may_name(origin, name) for origin, pattern in self.patterns.items())
        )

    def position(self, path: Path) -> Position:
        """The position of the value at `path`, or of the nearest thing around it; line 1 if there is none."""
        while path:
            if path in self.positions:
                return self.positions[path]
            path = path[:-1]
        return Position(1, 1)
