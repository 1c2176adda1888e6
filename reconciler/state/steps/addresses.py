"""Steps on what says where packets go: addresses, routes, neighbors, forwarding databases, and DHCP clients."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.steps.lanes import ANNOUNCE, DHCP, NETLINK
from reconciler.state.steps.step import Step


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
class PeerAddressDelete(Step):
    """Remove an address of a point-to-point link, whose far end is `peer`."""

    lane = NETLINK
    dev: str
    cidr: str
    peer: str


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
class StrayRouteAdd(Step):
    """Put back a route of another protocol, without a next hop."""

    lane = NETLINK
    family: int
    dst: str
    dev: str
    metric: int
    protocol: int


@dataclass(frozen=True, slots=True)
class StrayRouteDelete(Step):
    """Remove a route that is in the place of one of ours; `form` is as in RouteInfo."""

    lane = NETLINK
    family: int
    dst: str
    dev: str
    via: str
    metric: int
    protocol: int
    form: str
    nexthop: int = 0


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
class Announce(Step):
    """Tell everybody on a link that an address is at the hardware address `mac` now; "" is the link's own.

    By gratuitous ARP (RFC 5227), or for IPv6 by an unsolicited neighbor advertisement (RFC 4861).
    """

    lane = ANNOUNCE
    dev: str
    address: str
    mac: str = ""


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
