"""Steps: everything that netctl can do to a host, as data.

A kind lowers a change to steps; `kernel/` executes them; `render/commands.py` prints the same steps as command lines.
Nothing else touches a host, so what is printed is what runs.

Each step names the namespace in which it runs (see `state.ref`) and the lane that carries it out. A lane keeps the order
of the steps given to it, so a run of steps in one lane goes out as one batch: one send for netlink, one transaction for nft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

NETLINK = "netlink"
NFT = "nft"
NETNS = "netns"
SYSCTL = "sysctl"
RUNTIME = "runtime"
PROCESS = "process"
IPTABLES = "iptables"
CONNTRACK = "conntrack"
OVSDB = "ovsdb"
OPENFLOW = "openflow"
ETHTOOL = "ethtool"
UPLINK = "uplink"
DHCP = "dhcp"
ANNOUNCE = "announce"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in one namespace."""

    lane: ClassVar[str]
    netns: str


class StepError(Exception):
    """A step that the host refused: which one, and why in one sentence."""

    def __init__(self, step: Step, message: str) -> None:
        """`message` is the host's own word, made readable."""
        super().__init__(message)
        self.step = step
        self.message = message


# --- namespaces -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NetnsAdd(Step):
    """Make the namespace, with its loopback up, and mount it at /run/netns (ip-netns(8)). `netns` is the one that is made.

    With `ipv6` false, net.ipv6.conf.all.disable_ipv6 is set to 1 before anything is in it (which sets `default` and the
    loopback's as well), so that its links never chatter. With `ipv6`, net.ipv6.conf.default.accept_dad is set to 0 and
    net.ipv6.conf.default.accept_ra to 0: addresses serve at once, and no router is asked for.
    """

    lane = NETNS
    ipv6: bool


@dataclass(frozen=True, slots=True)
class NetnsDelete(Step):
    """Unmount and remove the namespace; what is in it goes with it, after a moment."""

    lane = NETNS


# --- netlink ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of a veth pair, made under its final name straight in its own namespace."""

    netns: str
    name: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class LinkAdd(Step):
    """Make a link (RTM_NEWLINK with CREATE and EXCL).

    `options` are the link kind's own, by iproute2's names, such as ("forward_delay", "0") of a bridge or ("id", "77") of a
    vxlan. A veth has a `peer`.
    """

    lane = NETLINK
    name: str
    kind: str
    mac: str
    mtu: int
    group: int
    master: str = ""
    up: bool = False
    peer: Peer | None = None
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LinkSet(Step):
    """Change a link that is there; None (or "" for names) leaves a thing as it is. `master` "-" means none."""

    lane = NETLINK
    name: str
    mac: str = ""
    mtu: int | None = None
    group: int | None = None
    master: str = ""
    up: bool | None = None
    alias: str | None = None
    link_local: bool | None = None
    """False: the kernel makes no IPv6 link-local address for it (`addrgenmode none`), so that it stays silent."""
    arp: bool | None = None
    """False: the host neither asks nor answers by ARP there (IFF_NOARP, netdevice(7))."""
    kind: str = ""
    """The link's kind; needed with `options`."""
    options: tuple[tuple[str, str], ...] = ()
    """Options of the link's kind to change, as in LinkAdd."""


@dataclass(frozen=True, slots=True)
class AltnameAdd(Step):
    """Give a link a second, longer, readable name (ip-link(8), `property add`)."""

    lane = NETLINK
    name: str
    altname: str


@dataclass(frozen=True, slots=True)
class BridgePortSet(Step):
    """Set options of a bridge port, by the names of bridge(8), such as ("hairpin", "on") or ("mcast_flood", "off")."""

    lane = NETLINK
    name: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class QdiscSet(Step):
    """Limit what a link sends, by a token bucket at its root (tc-tbf(8)); one that is there is replaced."""

    lane = NETLINK
    dev: str
    rate_bytes: int
    """A second."""
    burst_bytes: int
    limit_bytes: int
    """Of the queue."""


@dataclass(frozen=True, slots=True)
class QdiscDelete(Step):
    """Let a link send as fast as it can."""

    lane = NETLINK
    dev: str


@dataclass(frozen=True, slots=True)
class LinkDelete(Step):
    """Delete a link; a veth's other end goes with it, and so do addresses, routes and neighbors on it."""

    lane = NETLINK
    name: str
    group: int


@dataclass(frozen=True, slots=True)
class AddressAdd(Step):
    """Add an address, without the kernel's own connected route (`noprefixroute`) and, for IPv6, without DAD (`nodad`)."""

    lane = NETLINK
    dev: str
    cidr: str


@dataclass(frozen=True, slots=True)
class AddressDelete(Step):
    """Remove an address."""

    lane = NETLINK
    dev: str
    cidr: str


@dataclass(frozen=True, slots=True)
class RouteAdd(Step):
    """Add a route of ours (protocol ROUTE_PROTOCOL). `dst` is a CIDR, or "default" with the family in `family`."""

    lane = NETLINK
    family: int
    dst: str
    dev: str
    via: str = ""
    src: str = ""
    metric: int = 0


@dataclass(frozen=True, slots=True)
class RouteDelete(Step):
    """Remove a route of ours."""

    lane = NETLINK
    family: int
    dst: str
    dev: str
    via: str = ""
    src: str = ""
    metric: int = 0


@dataclass(frozen=True, slots=True)
class NeighborAdd(Step):
    """Add or replace a permanent neighbor (ARP or NDP) entry; with `proxy`, an entry that we answer for (no mac)."""

    lane = NETLINK
    dev: str
    address: str
    mac: str = ""
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class NeighborDelete(Step):
    """Remove a neighbor entry."""

    lane = NETLINK
    dev: str
    address: str
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class Announce(Step):
    """Tell everybody on a link that an address is at the link's own hardware address now.

    By gratuitous ARP (RFC 5227), or for IPv6 by an unsolicited neighbor advertisement (RFC 4861).
    """

    lane = ANNOUNCE
    dev: str
    address: str


@dataclass(frozen=True, slots=True)
class FdbAdd(Step):
    """Append a static entry to the forwarding database of a VXLAN (`remote` is the VTEP) or of a bridge port (no remote)."""

    lane = NETLINK
    dev: str
    mac: str
    remote: str = ""


@dataclass(frozen=True, slots=True)
class FdbDelete(Step):
    """Remove a static FDB entry."""

    lane = NETLINK
    dev: str
    mac: str
    remote: str = ""


@dataclass(frozen=True, slots=True)
class DhcpStart(Step):
    """Run a DHCP client for an interface in the container's namespace; with `default`, its lease gives the default route too."""

    lane = DHCP
    container: str
    dev: str
    default: bool


@dataclass(frozen=True, slots=True)
class DhcpStop(Step):
    """End that client; it gives its lease back, and takes away the address."""

    lane = DHCP
    container: str
    dev: str


@dataclass(frozen=True, slots=True)
class UplinkEnslave(Step):
    """Make the host's uplink a port of a bridge, and move its addresses and routes to the bridge, all in one go.

    What was before is noted first in the host's file under /run/netctl. Where it is a port already, what has come to it since
    is moved.
    """

    lane = UPLINK
    name: str
    bridge: str


@dataclass(frozen=True, slots=True)
class UplinkRelease(Step):
    """Take the uplink out of the bridge, and give it back its addresses and routes as they are now, all in one go."""

    lane = UPLINK
    name: str
    bridge: str


# --- everything else --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SysctlWrite(Step):
    """Write a sysctl, by its dotted key with `/` for a dot within a name (`net.ipv4.conf.eth0/1.forwarding`).

    With `remember`, the value before is noted first in the host's file under /run/netctl, to be put back by SysctlRestore.
    """

    lane = SYSCTL
    key: str
    value: str
    remember: bool


@dataclass(frozen=True, slots=True)
class SysctlRestore(Step):
    """Let go of a remembered sysctl: where no other topology uses it and it is still ours, the value before comes back."""

    lane = SYSCTL
    key: str


@dataclass(frozen=True, slots=True)
class NftCommand(Step):
    """Lines of nft(8) syntax. All that stand in one batch are one transaction. Rendered from validated values only."""

    lane = NFT
    text: str


@dataclass(frozen=True, slots=True)
class ConntrackFlush(Step):
    """Forget the connections whose original destination port is this one, so that UDP flows follow a changed DNAT at once."""

    lane = CONNTRACK
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class IptablesAdd(Step):
    """Insert a rule at the head of another's chain, after a check that it is not there (`iptables -w 5 -C`, then `-I`)."""

    lane = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IptablesDelete(Step):
    """Delete that rule (`iptables -w 5 -D`)."""

    lane = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What an engine needs to make a container; a change of any of it re-creates the container."""

    runtime: str
    image: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    restart: str = "no"


@dataclass(frozen=True, slots=True)
class ContainerCreate(Step):
    """Create (without network) and start a container, labelled as ours; `netns` is its namespace-to-be.

    Where a parked container of that name and `spec` is there, it is brought back instead: that is how the re-creation
    of a container is undone.
    """

    lane = RUNTIME
    container: str
    engine_name: str
    spec: ContainerSpec


@dataclass(frozen=True, slots=True)
class ContainerStart(Step):
    """Start a container that is there and stopped."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ContainerStop(Step):
    """Stop a container that runs: the inverse of ContainerStart."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ContainerPark(Step):
    """Stop a container and rename it, so that it can be brought back; it is removed when the whole apply has succeeded."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ProcessStart(Step):
    """Run `command` in the namespace: in a session of its own, marked in its environment, its output logged under /run/netctl."""

    lane = PROCESS
    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessStop(Step):
    """End the processes that carry the container's mark: SIGTERM, then SIGKILL."""

    lane = PROCESS
    container: str


# --- Open vSwitch -----------------------------------------------------------------------------------------------------


Marks = tuple[tuple[str, str], ...]
"""Of `external_ids`, those whose keys begin with `netctl:`."""


@dataclass(frozen=True, slots=True)
class OvsBridgeAdd(Step):
    """Make a bridge in the OVSDB, with its internal port of the same name, and wait until ovs-vswitchd has made it.

    All steps of this lane that stand in one batch are one transaction (RFC 7047). The bridge passes nothing without flows
    (`fail_mode` secure, ovs-vswitchd.conf.db(5)).
    """

    lane = OVSDB
    name: str
    datapath: str
    mac: str
    mtu: int
    marks: Marks


@dataclass(frozen=True, slots=True)
class OvsBridgeSet(Step):
    """Set all that netctl has a say in of a bridge that is there."""

    lane = OVSDB
    name: str
    mac: str
    mtu: int
    marks: Marks


@dataclass(frozen=True, slots=True)
class OvsBridgeDelete(Step):
    """Remove a bridge, its ports and its flows."""

    lane = OVSDB
    name: str


@dataclass(frozen=True, slots=True)
class OvsPortAdd(Step):
    """Make a link that is there a port of a bridge."""

    lane = OVSDB
    bridge: str
    name: str
    marks: Marks
    is_isolated: bool = False


@dataclass(frozen=True, slots=True)
class OvsPortSet(Step):
    """Set all that netctl has a say in of a port that is there, and wait until its link is in use."""

    lane = OVSDB
    name: str
    marks: Marks
    is_isolated: bool = False


@dataclass(frozen=True, slots=True)
class OvsPortDelete(Step):
    """Remove a port from its bridge; the link stays."""

    lane = OVSDB
    bridge: str
    name: str


@dataclass(frozen=True, slots=True)
class FlowAdd(Step):
    """Add or replace an OpenFlow rule, in the words of ovs-ofctl(8). Those of a bridge in a batch are one bundle: all or none."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str
    """Table, priority and match, which tell one rule from another."""
    actions: str


@dataclass(frozen=True, slots=True)
class FlowDelete(Step):
    """Remove the rule."""

    lane = OPENFLOW
    bridge: str
    cookie: int
    match: str


@dataclass(frozen=True, slots=True)
class OffloadSet(Step):
    """Switch an offload of a link on or off: `tx` (checksums of what it sends) or `gro` (packets merged on arrival)."""

    lane = ETHTOOL
    dev: str
    feature: str
    on: bool
