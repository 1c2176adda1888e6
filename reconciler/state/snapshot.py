"""A snapshot: what was read of a host, before any kind has looked at it.

`kernel/` fills it; each kind recognises its own things in it. It holds plain values only, and only what some kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.ref import Ref


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link, as RTM_GETLINK tells. `master` and `peer` are interface numbers; 0 is none."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    group: int
    up: bool
    master: int = 0
    peer: int = 0
    alias: str = ""
    altnames: tuple[str, ...] = ()
    link_local: bool = True
    """Whether the kernel makes an IPv6 link-local address for it (`addrgenmode` is not `none`)."""
    ipv6: bool = True
    """Whether IPv6 is on for it: the disable_ipv6 of IFLA_INET6_CONF (index 26, linux/ipv6.h) is 0."""
    accepts_ra: bool = True
    """Whether its accept_ra (index 3 there) is not 0."""
    has_ipv6: bool = True
    """Whether it has such settings at all: not below an MTU of 1280, nor on a kernel without IPv6."""
    options: tuple[tuple[str, str], ...] = ()
    """Of the link's kind (bridge, macvlan …), by iproute2's names and spelling, sorted."""
    qdisc: str = ""
    """What its packets wait in before they are sent: `noqueue`, `tbf` …"""
    port_options: tuple[tuple[str, str], ...] = ()
    """Of a bridge port, by the names of ip-link(8), sorted: flood, group_fwd_mask, hairpin, isolated, learning and others."""
    arp: bool = True
    """Whether the host speaks ARP there: IFF_NOARP is not set."""
    local_peer: bool = False
    """Whether `peer` is in the link's own namespace: the kernel names no other one. So it is said, too, of a link in a container
    whose peer is in a namespace of the container's own."""
    peer_netnsid: int = 0
    """Where `peer` is, by the number that the link's namespace has for that one (IFLA_LINK_NETNSID)."""
    carrier: bool = True
    """Whether it has a carrier (IFF_LOWER_UP)."""
    is_promiscuous: bool = False
    """Whether somebody takes all of its packets: every bridge does of its ports."""
    settings: bytes = field(default=b"", compare=False)
    """The kernel's arrays of its settings (IFLA_INET_CONF, IFLA_INET6_CONF): to tell whether two links have the same."""


@dataclass(frozen=True, slots=True)
class AddressInfo:
    """An address on a link; `flags` are IFA_F_ bits."""

    index: int
    cidr: str
    flags: int
    scope: int
    peer: str = ""
    """The far end of a point-to-point link, of which the prefix is then; "" for none."""


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A route of the main table. `dst` is a CIDR or "default"; `family` 4 or 6; `protocol` as in rtnetlink(7).

    `form` is "" for a unicast route with one next hop of its family; else it says in a word or two what it is.
    """

    family: int
    dst: str
    index: int
    via: str
    src: str
    metric: int
    protocol: int
    scope: int
    form: str = ""
    nexthop: int = 0
    """The number of the nexthop object by which it leads; 0 for none."""

    @property
    def key(self) -> tuple[int, str, int]:
        """Family, destination and metric: of each the table has one place."""
        return self.family, self.dst, self.metric


@dataclass(frozen=True, slots=True)
class NeighborInfo:
    """A neighbor entry (ARP, NDP or proxy); `state` are NUD_ bits."""

    index: int
    address: str
    mac: str
    state: int
    protocol: int
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class FdbInfo:
    """A static entry of a forwarding database; `remote` is the far end, of an entry of a tunnel.

    A `sticky` one stays at its port, whatever comes in elsewhere (NTF_STICKY, linux/neighbour.h).
    """

    index: int
    mac: str
    remote: str
    state: int
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class RateInfo:
    """A token bucket with our handle, at the root of a link."""

    index: int
    rate_bytes: int


@dataclass(frozen=True, slots=True)
class NamespaceInfo:
    """Everything read of one network namespace. `sysctls` holds only the keys that were asked for."""

    links: Mapping[int, LinkInfo] = field(default_factory=dict)
    addresses: tuple[AddressInfo, ...] = ()
    routes: tuple[RouteInfo, ...] = ()
    neighbors: tuple[NeighborInfo, ...] = ()
    fdb: tuple[FdbInfo, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    rates: tuple[RateInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class TableInfo:
    """An nftables table of ours.

    `intact` says that its chains, rules and sets are what `kinds.firewall.elements` would load; `elements` are (set, key,
    value) as nft writes them, value "" in a set without data. The number of a link stays a number.
    """

    family: str
    name: str
    intact: bool
    elements: tuple[tuple[str, str, str], ...]
    hooks: tuple[tuple[str, str], ...] = ()
    """Of a netdev table: the links at which it gets the packets, and the chain that they go to; "" where that is another's."""


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container of an engine that carries our label, or that the file names as existing."""

    runtime: str
    container: str
    engine_name: str
    spec: ContainerSpec | None
    """What it was made from; None where that is not known, or it exists without us."""
    running: bool
    pid: int
    existing: bool
    parked: bool = False
    networks: tuple[str, ...] = ()
    """The engine's networks that it is on, for one that exists without us."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """The processes of one container that carry our mark, spoken for by the first of them.

    `command` and `env` are what it was started with; they are empty where it has ended and only its children are left.
    """

    pid: int
    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IptablesRuleInfo:
    """A rule of ours in another's iptables chain."""

    command: str
    table: str
    chain: str
    rule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DhcpInfo:
    """A DHCP client that carries our mark; `link` makes its interface, `in_place` says that it runs where the container is."""

    container: str
    dev: str
    default: bool
    in_place: bool
    link: Ref | None


@dataclass(frozen=True, slots=True)
class UplinkInfo:
    """An uplink that the topology has put into a bridge, as the host's file says; `settled` unless that was cut short."""

    name: str
    bridge: str
    settled: bool


@dataclass(frozen=True, slots=True)
class OvsPortInfo:
    """A port of an Open vSwitch bridge with one interface. `number` is its OpenFlow port; 0 where ovs-vswitchd has none."""

    name: str
    number: int
    external_ids: tuple[tuple[str, str], ...] = ()
    is_protected: bool = False
    leaves_queues: bool = False
    """Whether its QoS is `linux-noop`: ovs-vswitchd then leaves the queues of the link alone (tc-tbf(8))."""


@dataclass(frozen=True, slots=True)
class OvsBridgeInfo:
    """An Open vSwitch bridge, as the OVSDB has it. `mac` and `mtu` are what is asked for (`hwaddr`, `mtu_request`)."""

    name: str
    datapath: str
    mac: str
    mtu: int
    fail_mode: str
    external_ids: tuple[tuple[str, str], ...] = ()
    ports: tuple[OvsPortInfo, ...] = ()
    learns: bool = True
    """Whether it learns hardware addresses of untagged frames (`flood_vlans` has no 0)."""
    fragments: str = ""
    """What rules see of fragments, as `ovs-ofctl get-frags` prints it; read of the topology's own bridges only."""


@dataclass(frozen=True, slots=True)
class OvsFlowInfo:
    """An OpenFlow rule, in the words of ovs-ofctl(8), as `ovs-ofctl --names --no-stats dump-flows` prints it."""

    bridge: str
    match: str
    """Table, priority and match."""
    actions: str


@dataclass(frozen=True, slots=True)
class OffloadInfo:
    """Whether an offload of a link is on; read where Open vSwitch works in user space."""

    netns: str
    dev: str
    feature: str
    on: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read of one host for one topology.

    `namespaces` is keyed by namespace name (see `state.ref`): "" is the host's own. `mounted` are the names, in the same
    form, of the namespaces under /run/netns that are this host's. `remembered` are the sysctl keys that this topology uses,
    noted in the host's file.
    """

    topology: str
    namespaces: Mapping[str, NamespaceInfo]
    mounted: frozenset[str] = frozenset()
    tables: tuple[TableInfo, ...] = ()
    containers: tuple[ContainerInfo, ...] = ()
    processes: tuple[ProcessInfo, ...] = ()
    iptables: tuple[IptablesRuleInfo, ...] = ()
    remembered: frozenset[str] = frozenset()
    uplinks: tuple[UplinkInfo, ...] = ()
    dhcp_clients: tuple[DhcpInfo, ...] = ()
    ovs_bridges: tuple[OvsBridgeInfo, ...] = ()
    """Everybody's. Empty also where no Open vSwitch runs, which the facts say."""
    ovs_flows: tuple[OvsFlowInfo, ...] = ()
    """Those on our own bridges that carry the topology's cookie (naming.cookie_of)."""
    offloads: tuple[OffloadInfo, ...] = ()

    def namespace(self, netns: str) -> NamespaceInfo:
        """What was read of a namespace; nothing, if it was not there."""
        return self.namespaces.get(netns) or NamespaceInfo()
