"""The kernel's settings of a link that netctl relies on: one table, by the role of the link.

`compile.settings` turns it into records, so that every row is set, compared and repaired. `kinds.settings.sysctl` reads
the settings that are deleted with a link. A row is here only if packets take another path without it. The kernel
combines a link's value with that of `all` (include/linux/inetdevice.h, net/ipv6/addrconf.c, net/ipv6/ndisc.c). This
decides whether a link's own value is enough:

    rp_filter, arp_ignore,
    arp_announce                  the larger of both: 2 (loose) on the link is loose, whatever `all` says; 1 (strict) is not, if
                                  `all` says 2
    route_localnet, proxy_ndp     either of both: 0 on the link does not close what `all` opens (the firewall does)
    accept_dad                    the larger of both: the addresses of netctl say themselves that they are not to be tested
    IPv4 forwarding               the link's by which a packet comes in; net.ipv4.ip_forward writes it on every link
    IPv6 forwarding               `all` alone; a link's own says whether it answers for others (proxy NDP), as a router
    disable_ipv6, accept_ra       the link's; a new link takes that of `default`

A port of a bridge (the host's end of a cable, a tunnel) has no row: the bridge takes its packets before IP sees them. Neither has
the uplink's rp_filter: what comes in there is answered there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Role(Enum):
    """The role of a link."""

    GATEWAY = auto()
    """The bridge of a subnet, with the host's address."""
    LAN_BRIDGE = auto()
    """The bridge that replaces the host's uplink."""
    SHIM = auto()
    """The host's own macvlan in a LAN."""
    UPLINK = auto()
    """The link by which the host reaches other hosts."""
    CONTAINER = auto()
    """A container's end of a cable, or its macvlan."""
    LAB_ROUTER = auto()
    """A link of the lab's router."""


class If(Enum):
    """A condition of a row, besides the family."""

    FORWARDS = auto()
    """The host forwards the row's family."""
    LOCALHOST = auto()
    """A port of a container there is published on 127.0.0.1."""
    NOT_LOCALHOST = auto()
    ANSWERS = auto()
    """The host answers for addresses of other hosts (`overlay: routes`)."""
    HAS_IPV6 = auto()
    """The link has IPv6, whether or not it has an IPv6 address: the kernel has it, and its MTU is large enough.

    The row's family does not count then.
    """
    REACHES_IPV6 = auto()
    """It has IPv6 routes."""
    SEVERAL = auto()
    """The container has further links."""
    ROUTER = auto()
    """Other containers have static routes via the container."""
    ADVERTISED = auto()
    """Routers of a LAN give the container its IPv6 address."""
    NOT_ADVERTISED = auto()
    """They do not, and the container's namespace has IPv6. The row's family does not count then."""


ANY_FAMILY = (If.HAS_IPV6, If.NOT_ADVERTISED)
"""The conditions of rows for links with and without addresses of the row's family."""


@dataclass(frozen=True, slots=True)
class LinkSetting:
    """A row: `net.ipv<family>.<group>.<link>.<name> = value`, and the reason."""

    family: int
    name: str
    value: str
    why: str
    when: If | None = None
    group: str = "conf"

    def key(self, link: str) -> str:
        """The key for a link."""
        return interface_key(self.family, link, self.name, self.group)


LINK_DEFAULTS = tuple(
    f"net.ipv6.conf.{key}" for key in ("all.disable_ipv6", "default.disable_ipv6", "default.accept_dad", "default.accept_ra")
)
"""The settings of a namespace that its new links inherit."""

LOOSE_FOR_CONTAINERS = "a container in two subnets answers by its default route, whichever address a request was for"
NO_ROUTER = "the host is the router here, and accepts no advertisements of a container or of an underlay node"
FORWARDED = "the host forwards packets that come in here only with it"
PERMANENT = (
    "all nodes here have permanent entries; a solicitation for any other address would wait in the machine's neighbor table;"
    " packets to a thousand of them would fill it; without a solicitation the entry fails at once, and can be evicted"
)
ASKS_BY_ITS_OWN = "it must solicit neighbors with its address of the subnet: the filter drops requests from the prefix behind it"
AT_ONCE = "a proxy answer would wait up to 0.8 s"

SETTINGS: dict[Role, tuple[LinkSetting, ...]] = {
    Role.GATEWAY: (
        LinkSetting(6, "accept_ra", "0", NO_ROUTER, If.HAS_IPV6),
        LinkSetting(4, "rp_filter", "2", LOOSE_FOR_CONTAINERS),
        LinkSetting(4, "route_localnet", "1", "packets of ports published on localhost leave here", If.LOCALHOST),
        LinkSetting(4, "route_localnet", "0", "a port published on localhost before must not stay open", If.NOT_LOCALHOST),
        LinkSetting(4, "forwarding", "1", FORWARDED, If.FORWARDS),
        LinkSetting(6, "disable_ipv6", "0", "no IPv6 address can be added otherwise (EACCES)"),
        LinkSetting(6, "forwarding", "1", "the gateway is a router, and sets the R flag (RFC 4861)", If.FORWARDS),
        LinkSetting(6, "accept_dad", "0", "the link-local address works at once"),
        LinkSetting(4, "mcast_solicit", "0", PERMANENT, group="neigh"),
        LinkSetting(6, "mcast_solicit", "0", PERMANENT, group="neigh"),
        LinkSetting(6, "proxy_ndp", "1", "the bridge answers for the addresses of other hosts", If.ANSWERS),
        LinkSetting(4, "proxy_delay", "0", AT_ONCE, If.ANSWERS, "neigh"),
        LinkSetting(6, "proxy_delay", "0", AT_ONCE, If.ANSWERS, "neigh"),
    ),
    Role.LAN_BRIDGE: (
        LinkSetting(
            4, "rp_filter", "2", "a DHCP client may renew an address on the uplink itself, and replies to it come in here"
        ),
    ),
    Role.SHIM: (
        LinkSetting(4, "arp_ignore", "8", "it answers for no address, or the LAN would learn two hardware addresses of the host"),
        LinkSetting(4, "rp_filter", "1", "it reaches only containers: a packet with the LAN router's address is forged"),
        LinkSetting(6, "disable_ipv6", "0", "no IPv6 route can be added otherwise (EACCES)", If.REACHES_IPV6),
        LinkSetting(6, "accept_ra", "0", "a container is not a router for the host"),
        LinkSetting(6, "accept_redirects", "0", "a container is not a router for the host"),
    ),
    Role.UPLINK: (LinkSetting(4, "forwarding", "1", FORWARDED, If.FORWARDS),),
    Role.CONTAINER: (
        LinkSetting(4, "rp_filter", "2", LOOSE_FOR_CONTAINERS, If.SEVERAL),
        LinkSetting(4, "arp_announce", "2", ASKS_BY_ITS_OWN, If.ROUTER),
        LinkSetting(6, "accept_ra", "2", "the LAN's routers give the address", If.ADVERTISED),
        LinkSetting(6, "accept_ra", "0", "the file determines the container's router", If.NOT_ADVERTISED),
    ),
    Role.LAB_ROUTER: (LinkSetting(4, "forwarding", "1", FORWARDED),),
}


def settings_for(role: Role, families: frozenset[int], circumstances: frozenset[If]) -> Iterator[LinkSetting]:
    """The rows for a link with addresses of these families."""
    for row in SETTINGS[role]:
        if row.when in ANY_FAMILY:
            holds = row.when in circumstances
        else:
            holds = row.family in families and (row.when is None or row.when in circumstances)
        if holds:
            yield row


def interface_key(family: int, interface: str, name: str, group: str = "conf") -> str:
    """The key of an interface's setting; it writes a dot within the interface's name as a slash (sysctl(8))."""
    return f"net.ipv{family}.{group}.{interface.replace('.', '/')}.{name}"
