"""Steps on links: bridges, veths, tunnels and macvlans, and what hangs on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.state.shell import HostShell, flatten, join
from reconciler.state.steps.backends import ETHTOOL, NETLINK
from reconciler.state.steps.step import Step

FREE_NAME = "moved%d"
"""A name with a number that the kernel chooses, so that it is free (dev_alloc_name)."""
IP_WORDS: Mapping[tuple[str, str], tuple[str, ...]] = {("learning", "off"): ("nolearning",)}
"""Options of links that ip(8) does not write as a name and a value."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a veth pair, created under its final name directly in its own namespace."""

    netns: str
    name: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class LinkAdd(Step):
    """Create a link (RTM_NEWLINK with CREATE and EXCL).

    `options` are the link kind's own, by iproute2's names, such as ("forward_delay", "0") of a bridge. A veth has a `peer`.
    """

    backend = NETLINK
    name: str
    kind: str
    mac: str
    mtu: int
    group: int
    master: str = ""
    up: bool = False
    peer: Peer | None = None
    options: tuple[tuple[str, str], ...] = ()

    def commands(self, shell: HostShell) -> Iterator[str]:
        if self.kind == "macvlan":
            yield self._macvlan_command(shell)
            return
        words = ["ip", "link", "add", "dev", self.name, *self._common_words()]
        words += ["master", self.master] if self.master else []
        words += ["up"] if self.up else []
        words += ["type", self.kind]
        for option in self.options:
            words += IP_WORDS.get(option, option)
        if self.peer:
            words += ["peer", "name", self.peer.name]
            words += ["address", self.peer.mac] if self.peer.mac else []
            words += ["mtu", str(self.peer.mtu)] if self.peer.mtu else []
        line = shell.tool(self.netns, *words)
        yield f"{line} netns {shell.link_netns(self.peer.netns)}" if self.peer and self.peer.netns != self.netns else line

    def _macvlan_command(self, shell: HostShell) -> str:
        """The command that creates a macvlan: next to its parent link, and directly in the namespace of its container."""
        options = dict(self.options)
        words = ["ip", "link", "add", "link", options.pop("link", ""), "name", self.name, *self._common_words()]
        line = shell.tool(self.netns, *words)
        line += f" netns {shell.link_netns(self.peer.netns)}" if self.peer else ""
        return f"{line} type macvlan {join(flatten(options.items()))}"

    def _common_words(self) -> list[str]:
        words = ["address", self.mac] if self.mac else []
        words += ["mtu", str(self.mtu)] if self.mtu else []
        words += ["group", str(self.group)] if self.group else []
        return words


@dataclass(frozen=True, slots=True)
class LinkSet(Step):
    """Change an existing link; None (or "" for names) leaves a property unchanged. `master` "-" means none."""

    backend = NETLINK
    name: str
    mac: str = ""
    mtu: int | None = None
    group: int | None = None
    master: str = ""
    up: bool | None = None
    alias: str | None = None
    link_local: bool | None = None
    """False: the kernel creates no IPv6 link-local address for it (`addrgenmode none`), so that it sends nothing."""
    arp: bool | None = None
    """False: the host sends no ARP requests and no replies there (IFF_NOARP, netdevice(7))."""
    kind: str = ""
    """The link's kind; needed with `options`."""
    options: tuple[tuple[str, str], ...] = ()
    """Options of the link's kind to change, as in LinkAdd."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        head = ["ip", "link", "set", "dev", self.name]
        if self.link_local is not None:  # a command of its own, and first: it must take effect before the link is up
            yield shell.tool(self.netns, *head, "addrgenmode", "eui64" if self.link_local else "none")
        words: list[str] = []
        words += ["address", self.mac] if self.mac else []
        words += ["mtu", str(self.mtu)] if self.mtu is not None else []
        words += ["group", str(self.group)] if self.group is not None else []
        words += ["nomaster"] if self.master == "-" else ["master", self.master] if self.master else []
        words += ["alias", self.alias] if self.alias is not None else []
        words += [] if self.arp is None else ["arp", "on" if self.arp else "off"]
        words += [] if self.up is None else ["up" if self.up else "down"]
        if words:
            yield shell.tool(self.netns, *head, *words)


@dataclass(frozen=True, slots=True)
class LinkDelete(Step):
    """Delete a link. The kernel deletes its addresses, routes and neighbors with it, and the other end of a veth."""

    backend = NETLINK
    name: str
    group: int

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ip", "link", "delete", "dev", self.name)


@dataclass(frozen=True, slots=True)
class AltnameAdd(Step):
    """Give a link a second, longer, readable name (ip-link(8), `property add`)."""

    backend = NETLINK
    name: str
    altname: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ip", "link", "property", "add", "dev", self.name, "altname", self.altname)


@dataclass(frozen=True, slots=True)
class AltnameDelete(Step):
    """Remove a second name from a link."""

    backend = NETLINK
    name: str
    altname: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ip", "link", "property", "delete", "dev", self.name, "altname", self.altname)


@dataclass(frozen=True, slots=True)
class LinkRename(Step):
    """Rename a link to make its name free: to `moved` and a number that the kernel chooses."""

    backend = NETLINK
    name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ip", "link", "set", "dev", self.name, "name", FREE_NAME)


@dataclass(frozen=True, slots=True)
class BridgePortSet(Step):
    """Set options of a bridge port, by the names of ip-link(8), such as ("hairpin", "on") or ("mcast_flood", "off")."""

    backend = NETLINK
    name: str
    options: tuple[tuple[str, str], ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        # bridge(8) has no keyword for `group_fwd_mask`.
        yield shell.tool(self.netns, "ip", "link", "set", "dev", self.name, "type", "bridge_slave", *flatten(self.options))


@dataclass(frozen=True, slots=True)
class QdiscSet(Step):
    """Limit the rate that a link sends, by a token bucket at its root (tc-tbf(8)). It replaces an existing one."""

    backend = NETLINK
    dev: str
    rate_bytes: int
    """Bytes per second."""
    burst_bytes: int
    limit_bytes: int
    """The length of the queue."""

    def commands(self, shell: HostShell) -> Iterator[str]:
        rate = ("rate", f"{self.rate_bytes * 8}bit", "burst", str(self.burst_bytes), "limit", str(self.limit_bytes))
        yield shell.tool(self.netns, "tc", "qdisc", "replace", "dev", self.dev, "root", "handle", "4e43:", "tbf", *rate)


@dataclass(frozen=True, slots=True)
class QdiscDelete(Step):
    """Remove the rate limit of a link."""

    backend = NETLINK
    dev: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "tc", "qdisc", "delete", "dev", self.dev, "root")


@dataclass(frozen=True, slots=True)
class OffloadSet(Step):
    """Switch an offload of a link on or off: `tx` (checksums of packets that it sends) or `gro` (packets merged on arrival)."""

    backend = ETHTOOL
    dev: str
    feature: str
    on: bool

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, "ethtool", "-K", self.dev, self.feature, "on" if self.on else "off")
