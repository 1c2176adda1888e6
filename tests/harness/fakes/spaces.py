"""The namespaces of the fake host: what stands in each, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.state.naming import ROUTE_PROTOCOL
from reconciler.state.snapshot import AddressInfo, FdbInfo, LinkInfo, NamespaceInfo, NeighborInfo, RouteInfo
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


NOT_OURS = ("", "all", "default", "eth0")
"""What settings are about besides the links of a space: the namespace itself, and the uplink, which the fake does not have."""


def read_space(spaces: Mapping[str, Space], netns: str, keys: tuple[str, ...]) -> NamespaceInfo:
    """What the kernel would tell of a namespace; `keys` are the sysctls wanted."""
    space = spaces[netns]
    index = {link.name: link.index for link in space.links.values()}
    readable = {key for key in keys if interface_of(key) in (*index, *NOT_OURS)}
    return NamespaceInfo(
        links={link.index: _link_info(spaces, space, link) for link in space.links.values()},
        addresses=tuple(AddressInfo(index[dev], cidr, IFA_F_PERMANENT, 0) for dev, cidr in space.addresses),
        routes=tuple(
            RouteInfo(r.family, r.dst, index[r.dev], r.via, r.src, r.metric, ROUTE_PROTOCOL, 0) for r in space.routes.values()
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
    )


def _link_info(spaces: Mapping[str, Space], space: Space, link: Link) -> LinkInfo:
    peer = spaces[link.peer[0]].links[link.peer[1]].index if link.peer else 0
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
        ipv6=space.ipv6 or link.name == "lo",
        accepts_ra=space.ipv6 or link.name != "lo",
        options=tuple(sorted(link.options.items())),
        port_options=tuple(sorted(link.port_options.items())),
    )


def interface_of(key: str) -> str:
    """The interface that a sysctl is about, "" for none; a slash in it stands for a dot."""
    parts = key.split(".")
    return parts[3].replace("/", ".") if parts[2] == "conf" else ""
