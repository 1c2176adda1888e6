"""Steps on links: bridges, veths, VXLANs and macvlans, what hangs on them, and the uplink that moves into a bridge."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.steps.lanes import ETHTOOL, NETLINK, UPLINK
from reconciler.state.steps.step import Step


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
class LinkDelete(Step):
    """Delete a link; a veth's other end goes with it, and so do addresses, routes and neighbors on it."""

    lane = NETLINK
    name: str
    group: int


@dataclass(frozen=True, slots=True)
class AltnameAdd(Step):
    """Give a link a second, longer, readable name (ip-link(8), `property add`)."""

    lane = NETLINK
    name: str
    altname: str


@dataclass(frozen=True, slots=True)
class AltnameDelete(Step):
    """Take a second name off a link."""

    lane = NETLINK
    name: str
    altname: str


@dataclass(frozen=True, slots=True)
class LinkRename(Step):
    """Give a link another name, so that its own is free: `moved` and a number that the kernel chooses."""

    lane = NETLINK
    name: str


@dataclass(frozen=True, slots=True)
class BridgePortSet(Step):
    """Set options of a bridge port, by the names of ip-link(8), such as ("hairpin", "on") or ("mcast_flood", "off")."""

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
class OffloadSet(Step):
    """Switch an offload of a link on or off: `tx` (checksums of what it sends) or `gro` (packets merged on arrival)."""

    lane = ETHTOOL
    dev: str
    feature: str
    on: bool


@dataclass(frozen=True, slots=True)
class UplinkEnslave(Step):
    """Make the host's uplink a port of a bridge, and move its addresses and routes to the bridge, all in one go.

    What was before is noted first in the host's file under /run/netctl. Where it is a port already, what has come to it since
    is moved.
    """

    lane = UPLINK
    name: str
    bridge: str
    joins: tuple[Step, ...] = ()
    """What makes it a port of an Open vSwitch bridge; a Linux bridge takes it by the same message as the addresses."""


@dataclass(frozen=True, slots=True)
class UplinkRelease(Step):
    """Take the uplink out of the bridge, and give it back its addresses and routes as they are now, all in one go."""

    lane = UPLINK
    name: str
    bridge: str
    leaves: tuple[Step, ...] = ()
    """What takes it out of an Open vSwitch bridge."""
