"""The kernel settings that a host's links need, as records: the rows of `kinds.settings.link_settings`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from reconciler.compile.model import Leg, Place
from reconciler.compile.view import HostView
from reconciler.kinds.settings.link_settings import If, Role, interface_key, settings_for
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.topology.types import Attachment


def compile_settings(view: HostView) -> Iterator[Sysctl]:
    """Forwarding, on all interfaces: containers reach what the host reaches, wherever that is, and replies come back.

    An IPv6 host that forwards no longer heeds router advertisements, and would lose its own default route when that expires,
    unless accept_ra is 2 before on the interface where they arrive.
    """
    remember = view.host.connect.scheme != "lab"
    families, way = forwarded_families(view), view.way_out
    # A bridge that has the uplink's place takes over its settings, and loses its own with itself.
    after = (way.uplink,) if way.uplink else ()
    if 4 in families:
        rows = settings_for(Role.UPLINK, families, frozenset({If.FORWARDS})) if way.dev else ()
        keeps = remember and not way.uplink
        own = [
            Sysctl(
                netns=HOST, key=row.key(way.dev), value=row.value, remember=keeps, owner=way.bridge, after=after, about=way.about
            )
            for row in rows
        ]
        yield from own
        # It writes the setting of every link, so what the uplink's was is noted before, and put back after it.
        yield Sysctl(netns=HOST, key="net.ipv4.ip_forward", value="1", remember=remember, after=tuple(each.ref for each in own))
    if 6 in families:
        before: tuple[Ref, ...] = ()
        if view.facts.accepts_ra and way.dev:
            key = interface_key(6, way.dev, "accept_ra")
            heed = Sysctl(
                netns=HOST,
                key=key,
                value="2",
                remember=remember and not way.uplink,
                owner=way.bridge,
                after=after,
                about=way.about,
            )
            before = (heed.ref,)
            yield heed
        yield Sysctl(netns=HOST, key="net.ipv6.conf.all.forwarding", value="1", remember=remember, after=before)


def forwarded_families(view: HostView) -> frozenset[int]:
    """The families that the host forwards. Isolated subnets alone need none, unless a policy opens them or routes join them."""
    return frozenset(
        own.family
        for leg in view.legs.values()
        if view.topology.policies or view.subnet(leg).mode != "isolated" or any(peer.way == "routes" for peer in leg.peers)
        for own in leg.addresses
    )


def gateway_settings(view: HostView, leg: Leg) -> Iterator[Sysctl]:
    """Those of a subnet's bridge."""
    families = frozenset(own.family for own in leg.addresses)
    found = {If.LOCALHOST if _publishes_on_localhost(view, leg) else If.NOT_LOCALHOST}
    found |= {If.HAS_IPV6} if view.facts.has_ipv6 else set()
    found |= {If.ANSWERS} if any(peer.way == "routes" for peer in leg.peers) else set()
    forwarded = forwarded_families(view)
    for row in settings_for(Role.GATEWAY, families, frozenset({*found, If.FORWARDS})):
        if row.when is not If.FORWARDS or row.family in forwarded:
            yield Sysctl(netns=HOST, key=row.key(leg.bridge), value=row.value, owner=leg.ref, about=f"subnet {leg.subnet}")


def container_settings(
    place: Place, attachment: Attachment, link: Ref, circumstances: Collection[If], chosen: Collection[str]
) -> Iterator[Sysctl]:
    """Those of a container's interface, but for the keys that the file itself has `chosen` a value for."""
    netns, dev = container_netns(place.container), place.interface
    families = {own.family for own in place.addresses}
    if attachment.dhcp:
        families |= {4, 6} if If.ADVERTISED in circumstances else {4}
    yield from link_settings(Role.CONTAINER, netns, dev, link, f"container {place.container}", families, circumstances, chosen)


def link_settings(
    role: Role,
    netns: str,
    dev: str,
    link: Ref,
    about: str,
    families: Iterable[int],
    circumstances: Iterable[If] = (),
    chosen: Collection[str] = (),
) -> Iterator[Sysctl]:
    """Those of one link that `link` makes."""
    for row in settings_for(role, frozenset(families), frozenset(circumstances)):
        if row.key(dev) not in chosen:
            yield Sysctl(netns=netns, key=row.key(dev), value=row.value, owner=link, about=about)


def _publishes_on_localhost(view: HostView, leg: Leg) -> bool:
    return any(
        port.listen == "" or port.listen.startswith("127.")
        for port in view.resolved.ports
        if (port.host, port.subnet, port.family) == (leg.host, leg.subnet, 4)
    )
