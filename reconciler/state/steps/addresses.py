"""Steps on forwarding data: addresses, routes, neighbors, forwarding databases, and DHCP clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface

from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.shell import HostShell, comment, quote
from reconciler.state.steps.backends import ANNOUNCE, DHCP, NETLINK
from reconciler.state.steps.step import Step

ROUTE_TYPES = ("", "", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat")
"""The types of routes (RTN_, linux/rtnetlink.h) by their numbers; "" for a unicast one."""


@dataclass(frozen=True, slots=True)
class AddressAdd(Step):
    """Add an address, without the kernel's own connected route (`noprefixroute`) and, for IPv6, without DAD (`nodad`)."""

    backend = NETLINK
    dev: str
    cidr: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        flags = ["noprefixroute", "nodad"] if ":" in self.cidr else ["noprefixroute"]
        # Without the keyword, ip sets no broadcast address; /31 and /32 have none.
        broadcast = ["broadcast", "+"] if ":" not in self.cidr and ip_interface(self.cidr).network.prefixlen < 31 else []
        yield shell.tool(self.netns, "ip", "address", "add", self.cidr, *broadcast, "dev", self.dev, *flags)


@dataclass(frozen=True, slots=True)
class AddressDelete(Step):
    """Remove an address."""

    backend = NETLINK
    dev: str
    cidr: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ip", "address", "delete", self.cidr, "dev", self.dev)


@dataclass(frozen=True, slots=True)
class PeerAddressDelete(Step):
    """Remove an address of a point-to-point link with the remote address `peer`."""

    backend = NETLINK
    dev: str
    cidr: str
    peer: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        own, _, length = self.cidr.partition("/")
        yield shell.tool(self.netns, "ip", "address", "delete", own, "peer", f"{self.peer}/{length}", "dev", self.dev)


@dataclass(frozen=True, slots=True)
class RouteAdd(Step):
    """Add a route of netctl's (protocol ROUTE_PROTOCOL). `dst` is a CIDR, or "default" with the family in `family`."""

    backend = NETLINK
    family: int
    dst: str
    dev: str
    via: str = ""
    src: str = ""
    metric: int = 0

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _route_command("add", self, shell)


@dataclass(frozen=True, slots=True)
class RouteDelete(Step):
    """Delete a route of netctl's."""

    backend = NETLINK
    family: int
    dst: str
    dev: str
    via: str = ""
    src: str = ""
    metric: int = 0

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield _route_command("delete", self, shell)


@dataclass(frozen=True, slots=True)
class StrayRouteAdd(Step):
    """Restore a route of another protocol, without a next hop."""

    backend = NETLINK
    family: int
    dst: str
    dev: str
    metric: int
    protocol: int

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ["ip", f"-{self.family}", "route", "add", self.dst]
        words += ["dev", self.dev] if self.dev else []
        words += ["proto", str(self.protocol)]
        words += ["metric", str(self.metric)] if self.metric else []
        yield shell.tool(self.netns, *words)


@dataclass(frozen=True, slots=True)
class StrayRouteDelete(Step):
    """Delete a foreign route that occupies the position of one of netctl's; `form` is as in RouteInfo."""

    backend = NETLINK
    family: int
    dst: str
    dev: str
    via: str
    metric: int
    protocol: int
    form: str
    nexthop: int = 0

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ["ip", f"-{self.family}", "route", "delete", *([self.form] if self.form in ROUTE_TYPES[2:] else []), self.dst]
        if not self.form:
            words += ["via", self.via] if self.via else []
            words += ["dev", self.dev] if self.dev else []
        words += ["nhid", str(self.nexthop)] if self.nexthop else []
        words += ["proto", str(self.protocol)]
        words += ["metric", str(self.metric)] if self.metric else []
        yield shell.tool(self.netns, *words)


@dataclass(frozen=True, slots=True)
class NeighborAdd(Step):
    """Add or replace a permanent neighbor (ARP or NDP) entry; with `proxy`, an entry that the host answers for (no mac)."""

    backend = NETLINK
    dev: str
    address: str
    mac: str = ""
    proxy: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ["ip", "neighbor", "replace", *_neighbor_words(self.address, is_proxy=self.proxy)]
        words += ["lladdr", self.mac, "nud", "permanent"] if self.mac else []
        yield shell.tool(self.netns, *words, "dev", self.dev, "protocol", str(ROUTE_PROTOCOL))


@dataclass(frozen=True, slots=True)
class NeighborDelete(Step):
    """Remove a neighbor entry."""

    backend = NETLINK
    dev: str
    address: str
    proxy: bool = False

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = _neighbor_words(self.address, is_proxy=self.proxy)
        yield shell.tool(self.netns, "ip", "neighbor", "delete", *words, "dev", self.dev)


@dataclass(frozen=True, slots=True)
class FdbAdd(Step):
    """Append a static entry to the database of a tunnel (`remote` is the other end) or of a bridge port (no remote)."""

    backend = NETLINK
    dev: str
    mac: str
    remote: str = ""

    def commands(self, shell: HostShell) -> Iterator[str]:
        where = ["dst", self.remote, "self", "permanent"] if self.remote else ["master", "static", "sticky"]
        yield shell.tool(self.netns, "bridge", "fdb", "append", self.mac, "dev", self.dev, *where)


@dataclass(frozen=True, slots=True)
class FdbDelete(Step):
    """Remove a static FDB entry."""

    backend = NETLINK
    dev: str
    mac: str
    remote: str = ""

    def commands(self, shell: HostShell) -> Iterator[str]:
        where = ["dst", self.remote, "self", "permanent"] if self.remote else ["master", "static"]
        yield shell.tool(self.netns, "bridge", "fdb", "delete", self.mac, "dev", self.dev, *where)


@dataclass(frozen=True, slots=True)
class Announce(Step):
    """Announce to all nodes of a link that an address is now at the hardware address `mac`; "" is the link's own.

    The announcement is a gratuitous ARP (RFC 5227), or for IPv6 an unsolicited neighbor advertisement (RFC 4861).
    """

    backend = ANNOUNCE
    dev: str
    address: str
    mac: str = ""

    def commands(self, shell: HostShell) -> Iterator[str]:
        at = self.mac or self.dev
        yield comment(f"apply also announces that {self.address} is at {at} now (gratuitous ARP, or its like of IPv6)")


@dataclass(frozen=True, slots=True)
class DhcpStart(Step):
    """Run a DHCP client for an interface in the container's namespace; with `default`, its lease sets the default route too."""

    backend = DHCP
    container: str
    dev: str
    default: bool

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield "# apply runs it with a script of its own, which sets nothing but the address and routes"
        yield shell.tool(self.netns, "udhcpc", "-b", "-R", "-i", self.dev)


@dataclass(frozen=True, slots=True)
class DhcpStop(Step):
    """End that client. It releases its lease and removes the address."""

    backend = DHCP
    container: str
    dev: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        pattern = f"udhcpc.*-i {_literally(self.dev)}( |$)"
        # Other containers may run a client of the same name, and any user can give a process this name.
        kill = f"exec pkill --ns $$ --nslist net -u 0 -U 0 -f {quote(pattern)}"
        yield shell.tool(self.netns, "sh", "-c", kill)


def _route_command(verb: str, step: RouteAdd | RouteDelete, shell: HostShell) -> str:
    words = ["ip", f"-{step.family}", "route", verb, step.dst]
    words += ["via", step.via] if step.via else []
    words += ["dev", step.dev, "proto", str(ROUTE_PROTOCOL)]
    words += ["src", step.src] if step.src else []
    words += ["metric", str(step.metric)] if step.metric else []
    return shell.tool(step.netns, *words)


def _neighbor_words(address: str, *, is_proxy: bool) -> list[str]:
    return ["proxy", address] if is_proxy else [address]


def _literally(text: str) -> str:
    """An extended regular expression (regex(7)) that matches the text and nothing else."""
    return "".join(char if char.isalnum() or char in "-_" else "[\\^]" if char == "^" else f"[{char}]" for char in text)
