"""The namespaces of the fake host: what stands in each, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.ref import HOST
from reconciler.state.snapshot import AddressInfo, FdbInfo, LinkInfo, NamespaceInfo, NeighborInfo, RateInfo, RouteInfo
from reconciler.state.steps.addresses import RouteAdd

NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
IFA_F_PERMANENT = 0x80


@dataclass(slots=True)
class Link:
    """A link; `peer` and `master` are other links."""

    index: int
    name: str
    kind: str
    mac: str = "02:00:00:00:00:00"
    mtu: int = 1500
    group: int = 0
    up: bool = False
    alias: str = ""
    altnames: tuple[str, ...] = ()
    link_local: bool = True
    arp: bool = True
    options: dict[str, str] = field(default_factory=dict)
    port_options: dict[str, str] = field(default_factory=dict)
    master: str = ""
    peer: tuple[str, str] | None = None
    lower: str = ""
    """Of a macvlan, the host's link below it."""
    mtu_is_set: bool = False


@dataclass(slots=True)
class Space:
    """A network namespace."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: list[tuple[str, str]] = field(default_factory=list)
    routes: dict[tuple[int, str, int], RouteAdd] = field(default_factory=dict)
    neighbors: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    fdb: set[tuple[str, str, str]] = field(default_factory=set)
    """Link, hardware address, VTEP; "" for an entry of the link's bridge."""
    sysctls: dict[str, str] = field(default_factory=dict)
    ipv6: bool = True
    protocols: dict[tuple[int, str, int], int] = field(default_factory=dict)
    """Of the routes that another program has made."""
    queues: dict[str, tuple[str, int]] = field(default_factory=dict)
    """At the root of a link: its kind, and the bytes a second that it lets pass."""
    offloads_off: set[tuple[str, str]] = field(default_factory=set)
    is_engines: bool = False
    """Whether an engine made it: no file under /run/netns holds it."""

    def forget(self, name: str) -> None:
        """Delete what stands on a link that is gone."""
        self.addresses = [(dev, cidr) for dev, cidr in self.addresses if dev != name]
        self.routes = {key: route for key, route in self.routes.items() if route.dev != name}
        self.neighbors = {key: mac for key, mac in self.neighbors.items() if key[0] != name}
        self.fdb = {entry for entry in self.fdb if entry[0] != name}
        self.sysctls = {key: value for key, value in self.sysctls.items() if f".{name}." not in key}
        self.queues.pop(name, None)
        self.offloads_off = {entry for entry in self.offloads_off if entry[0] != name}

    def rename(self, name: str, other: str) -> None:
        """Give a link another name; what stands on it stays there."""
        link = self.links.pop(name)
        link.name = other
        self.links[other] = link
        self.addresses = [(other if dev == name else dev, cidr) for dev, cidr in self.addresses]
        self.routes = {key: replace(r, dev=other) if r.dev == name else r for key, r in self.routes.items()}
        self.neighbors = {(other if key[0] == name else key[0], *key[1:]): mac for key, mac in self.neighbors.items()}


NOT_OURS = ("", "all", "default", "eth0")
"""What settings are about besides the links of a space: the namespace itself, and the uplink, which the fake does not have."""


def is_without_ipv6(space: Space, dev: str) -> bool:
    """Whether IPv6 is off, in the namespace or for the link alone."""
    return not space.ipv6 or space.sysctls.get(f"net.ipv6.conf.{dev}.disable_ipv6") == "1"


def read_space(spaces: Mapping[str, Space], netns: str, keys: tuple[str, ...], is_taken: Callable[[Link], bool]) -> NamespaceInfo:
    """What the kernel would report of a namespace; `keys` are the sysctls wanted, `is_taken` what a switch takes packets of."""
    space = spaces[netns]
    index = {link.name: link.index for link in space.links.values()}
    readable = {key for key in keys if interface_of(key) in (*index, *NOT_OURS)}
    return NamespaceInfo(
        links={link.index: _link_info(spaces, space, link, is_promiscuous=is_taken(link)) for link in space.links.values()},
        addresses=tuple(AddressInfo(index[dev], cidr, IFA_F_PERMANENT, 0) for dev, cidr in space.addresses),
        routes=tuple(
            RouteInfo(r.family, r.dst, index[r.dev], r.via, r.src, r.metric, space.protocols.get(key, ROUTE_PROTOCOL), 0)
            for key, r in space.routes.items()
        ),
        neighbors=tuple(
            NeighborInfo(index[dev], address, mac, NUD_PERMANENT, ROUTE_PROTOCOL, proxy)
            for (dev, address, proxy), mac in space.neighbors.items()
        ),
        fdb=tuple(
            FdbInfo(index[dev], mac, remote, NUD_PERMANENT if remote else NUD_NOARP, sticky=not remote)
            for dev, mac, remote in sorted(space.fdb)
        ),
        sysctls={key: space.sysctls.get(key, "0") for key in sorted(readable)},
        rates=tuple(RateInfo(index[dev], rate) for dev, (kind, rate) in space.queues.items() if kind == "tbf"),
    )


def _link_info(spaces: Mapping[str, Space], space: Space, link: Link, *, is_promiscuous: bool) -> LinkInfo:
    """A macvlan's other end is the link below it (IFLA_LINK)."""
    peer = spaces[link.peer[0]].links[link.peer[1]].index if link.peer else 0
    if link.lower:
        peer = spaces[HOST].links[link.lower].index
    return LinkInfo(
        index=link.index,
        name=link.name,
        kind=link.kind,
        mac=link.mac,
        mtu=link.mtu,
        group=link.group,
        up=link.up,
        master=space.links[link.master].index if link.master else 0,
        peer=peer,
        alias=link.alias,
        altnames=link.altnames,
        link_local=link.link_local,
        arp=link.arp,
        ipv6=not is_without_ipv6(space, link.name) or link.name == "lo",
        accept_ra=int(space.ipv6 or link.name != "lo"),
        options=tuple(sorted(link.options.items())),
        port_options=tuple(sorted(link.port_options.items())),
        qdisc=space.queues.get(link.name, ("noqueue", 0))[0],
        is_promiscuous=is_promiscuous or bool(link.master),
    )


def interface_of(key: str) -> str:
    """The interface that a sysctl is about, "" for none; a slash in it stands for a dot."""
    parts = key.split(".")
    return parts[3].replace("/", ".") if parts[2] in ("conf", "neigh") else ""
