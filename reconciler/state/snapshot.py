"""A snapshot: all that netctl read of a host, before any kind recognises its own things.

`kernel/` fills it. It holds plain values only, and only those that some kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconciler.state.container_spec import OWN, ContainerSpec, HolderSpec
from reconciler.state.members import Member
from reconciler.state.ref import Ref
from reconciler.state.resolver import ResolverInfo
from reconciler.state.starts import WaitingStart


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link, as RTM_GETLINK reports it. `master` and `peer` are interface numbers; 0 is none."""

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
    """Whether the kernel creates an IPv6 link-local address for it (`addrgenmode` is not `none`)."""
    ipv6: bool = True
    """Whether it has IPv6 enabled: the disable_ipv6 of IFLA_INET6_CONF (index 26, linux/ipv6.h) is 0."""
    accept_ra: int = 1
    """Its accept_ra (index 3 there)."""
    has_ipv6: bool = True
    """Whether it has such settings at all. It has none below an MTU of 1280, nor on a kernel without IPv6."""
    options: tuple[tuple[str, str], ...] = ()
    """Of the link's kind (bridge, macvlan …), by iproute2's names and spelling, sorted."""
    qdisc: str = ""
    """The queueing discipline at its root: `noqueue`, `tbf` …"""
    port_options: tuple[tuple[str, str], ...] = ()
    """Options of a bridge port, by the names of ip-link(8), sorted: flood, group_fwd_mask, hairpin, isolated, learning …"""
    arp: bool = True
    """Whether it uses ARP: IFF_NOARP is not set."""
    local_peer: bool = False
    """Whether the kernel names no other namespace for `peer`: it is in the link's own.

    For a link in a container it may also be in a nested namespace of the container.
    """
    peer_netnsid: int = 0
    """The namespace of `peer`, as the link's namespace numbers it (IFLA_LINK_NETNSID)."""
    operational: bool = True
    """Whether the kernel takes it for ready: its IFLA_OPERSTATE is up or unknown (netif_oper_up, linux/netdevice.h).

    The state follows the carrier up to a second later. A port of a bridge is enabled by this state, not by the carrier.
    """
    is_promiscuous: bool = False
    """Whether it receives all packets of its segment: every bridge makes its ports promiscuous."""
    settings: bytes = field(default=b"", compare=False)
    """The kernel's arrays of its settings (IFLA_INET_CONF, IFLA_INET6_CONF), to compare the settings of two links."""


@dataclass(frozen=True, slots=True)
class AddressInfo:
    """An address on a link; `flags` are IFA_F_ bits."""

    index: int
    cidr: str
    flags: int
    scope: int
    peer: str = ""
    """The remote address of a point-to-point link, to which the prefix then belongs; "" for none."""


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A route of the main table. `dst` is a CIDR or "default"; `family` 4 or 6; `protocol` as in rtnetlink(7).

    `form` is "" for a unicast route with one next hop of its family; else a word or two for its type.
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
    """The number of its nexthop object; 0 for none."""

    @property
    def key(self) -> tuple[int, str, int]:
        """Family, destination and metric, which identify a route in the table."""
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
    """A static entry of a forwarding database; of a tunnel's entry, `remote` is the remote end.

    A `sticky` entry stays at its port, even if frames from its address come in elsewhere (NTF_STICKY,
    linux/neighbour.h).
    """

    index: int
    mac: str
    remote: str
    state: int
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class RateInfo:
    """A token bucket with netctl's handle, at the root of a link."""

    index: int
    rate_bytes: int


@dataclass(frozen=True, slots=True)
class NamespaceInfo:
    """All that was read of one network namespace. `sysctls` holds only the requested keys."""

    links: Mapping[int, LinkInfo] = field(default_factory=dict)
    addresses: tuple[AddressInfo, ...] = ()
    routes: tuple[RouteInfo, ...] = ()
    neighbors: tuple[NeighborInfo, ...] = ()
    fdb: tuple[FdbInfo, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    rates: tuple[RateInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class TableInfo:
    """An nftables table of netctl's.

    `intact` says that its chains, rules and sets are those that `kinds.firewall.elements` would load. `elements` are
    (set, key, value) as nft writes them, value "" in a set without data. The number of a link stays a number.
    """

    family: str
    name: str
    intact: bool
    elements: tuple[tuple[str, str, str], ...]
    hooks: tuple[tuple[str, str], ...] = ()
    """Of a netdev table: the links whose packets it gets, and the chain of each; "" for a chain that is not netctl's."""
    changed: tuple[str, ...] = ()
    """The chains and sets that make it not intact, such as `chain ours`."""


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container of an engine that carries netctl's label, or that the file names as existing."""

    runtime: str
    container: str
    engine_name: str
    spec: ContainerSpec | None
    """The specification from which it was created; None if unknown, or if netctl did not create it."""
    running: bool
    pid: int
    existing: bool
    parked: bool = False
    networks: tuple[str, ...] = ()
    """The engine's networks of a container that netctl did not create."""
    network: str = OWN
    """The network namespace that it was created for (`state.container_spec`)."""
    is_joined: bool = True
    """Whether its process is in the namespace that is held for it now; true if it does not run, or if none is held."""
    share: str = ""
    """The container for which that namespace is held, if it is another one."""
    member: Member | None = None
    """What it is if the file names it by its labels."""


@dataclass(frozen=True, slots=True)
class HolderInfo:
    """A container of an engine that holds the network namespace of the topology's `container`; not a parked one."""

    runtime: str
    container: str
    engine_name: str
    spec: HolderSpec | None
    """None if its label has none."""
    pid: int
    """0 if it does not run."""
    hosts: tuple[str, ...] = ()
    """The lines of its /etc/hosts, if it runs."""


@dataclass(frozen=True, slots=True)
class ResolvConfInfo:
    """The resolv.conf that netctl wrote for a container; no lines if the container itself has others by now."""

    netns: str
    lines: tuple[str, ...]
    runtime: str = ""
    engine_name: str = ""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """The processes of one container that carry netctl's mark, represented by the first of them.

    `command` and `env` are those of its start. They are empty if it has ended and only its children run.
    """

    pid: int
    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    share: str = ""
    has_resolv_conf: bool = False
    """Whether it sees the resolv.conf of its container."""
    """The other container in whose network they are; "" if it is their own."""


@dataclass(frozen=True, slots=True)
class IptablesRuleInfo:
    """A rule of netctl's in a foreign iptables chain."""

    command: str
    table: str
    chain: str
    rule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DhcpInfo:
    """A DHCP client that carries netctl's mark. `link` creates its interface; `in_place` says that it runs in its container."""

    container: str
    dev: str
    default: bool
    in_place: bool
    link: Ref | None


@dataclass(frozen=True, slots=True)
class UplinkInfo:
    """An uplink that the topology moved to a bridge, from the host's file; `settled` unless the move was interrupted."""

    name: str
    bridge: str
    settled: bool


@dataclass(frozen=True, slots=True)
class OvsPortInfo:
    """A port of an Open vSwitch bridge with one interface. `number` is its OpenFlow port; 0 if ovs-vswitchd gave it none."""

    name: str
    number: int
    external_ids: tuple[tuple[str, str], ...] = ()
    is_protected: bool = False
    leaves_queues: bool = False
    """Whether its QoS is `linux-noop`: ovs-vswitchd then does not touch the link's queueing disciplines (tc-tbf(8))."""


@dataclass(frozen=True, slots=True)
class OvsBridgeInfo:
    """An Open vSwitch bridge, from the OVSDB. `mac` and `mtu` are the requested ones (`hwaddr`, `mtu_request`)."""

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
    """How rules see fragments, as `ovs-ofctl get-frags` prints it; read of the topology's own bridges only."""


@dataclass(frozen=True, slots=True)
class OvsFlowInfo:
    """An OpenFlow rule in the words of ovs-ofctl(8), as `ovs-ofctl --names --no-stats dump-flows` prints it."""

    bridge: str
    match: str
    """Table, priority and match."""
    actions: str


@dataclass(frozen=True, slots=True)
class OffloadInfo:
    """Whether an offload of a link is on; read if Open vSwitch works in user space."""

    netns: str
    dev: str
    feature: str
    on: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was read of one host for one topology.

    `namespaces` is keyed by namespace name (see `state.ref`): "" is the host's own. `mounted` are the names, in the
    same form, of this host's namespaces under /run/netns. `remembered` are the sysctl keys of this topology in the
    host's file.
    """

    topology: str
    namespaces: Mapping[str, NamespaceInfo]
    mounted: frozenset[str] = frozenset()
    tables: tuple[TableInfo, ...] = ()
    containers: tuple[ContainerInfo, ...] = ()
    members: tuple[Member, ...] = ()
    """All members, also those that are none of the `containers`, because their name or they themselves are taken."""
    starting: tuple[WaitingStart, ...] = ()
    """Containers of other programs that wait for their network, and that the topology has not answered."""
    holders: Mapping[str, HolderInfo] = field(default_factory=dict)
    """By the namespace that each holds."""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The lines of netctl's own hosts files, by the namespace of the container that mounts each."""
    processes: tuple[ProcessInfo, ...] = ()
    iptables: tuple[IptablesRuleInfo, ...] = ()
    remembered: frozenset[str] = frozenset()
    uplinks: tuple[UplinkInfo, ...] = ()
    dhcp_clients: tuple[DhcpInfo, ...] = ()
    ovs_bridges: tuple[OvsBridgeInfo, ...] = ()
    """All Open vSwitch bridges of the host. Empty also if no Open vSwitch runs, which the facts say."""
    ovs_flows: tuple[OvsFlowInfo, ...] = ()
    """The rules on the topology's own bridges that carry its cookie (naming.cookie_of)."""
    offloads: tuple[OffloadInfo, ...] = ()
    resolvers: tuple[ResolverInfo, ...] = ()
    names: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """The lines of the files of names, by subnet and view."""
    resolv_confs: tuple[ResolvConfInfo, ...] = ()

    def namespace(self, netns: str) -> NamespaceInfo:
        """The contents of a namespace; empty if the namespace did not exist."""
        return self.namespaces.get(netns) or NamespaceInfo()


def reuse(last: Snapshot, new: Snapshot) -> Snapshot:
    """The new reading, with the namespaces of the last one that are the same; the last one itself if all is.

    Links count as the same only if they are the same object: they do not compare their `settings`.
    """
    namespaces = {
        netns: old if (old := last.namespaces.get(netns)) and old.links is info.links and old == info else info
        for netns, info in new.namespaces.items()
    }
    is_same = namespaces.keys() == last.namespaces.keys()
    is_same = is_same and all(info is last.namespaces[netns] for netns, info in namespaces.items())
    if is_same and replace(new, namespaces={}) == replace(last, namespaces={}):
        return last
    return replace(new, namespaces=namespaces)
