"""The records of places in a LAN by macvlan, and of the host's own macvlan there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Assigned, Lan, Leg, Place
from reconciler.compile.settings import link_settings
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.settings.link_settings import If, Role
from reconciler.state.naming import Alias, group_of, interface_name, mac_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.uapi import HOST_LENGTH


def shim_name(topology: str, subnet: str) -> str:
    """The host's own macvlan in a LAN."""
    return interface_name("m-", topology, subnet)


def shim_mac(topology: str, host: str, subnet: str) -> str:
    """Its hardware address."""
    return mac_of(topology, "macvlan", host, subnet)


def compile_shim(view: HostView, leg: Leg, lan: Lan) -> Iterator[Record]:
    """The host's own macvlan, and the way over it to each of its containers; only mode bridge lets it reach them."""
    topology = view.topology.name
    if view.subnet(leg).macvlan != "bridge":
        return
    name = shim_name(topology, leg.subnet)
    alias = Alias(topology, "shim", leg.subnet)
    shim = Macvlan(
        netns=HOST,
        name=name,
        lower=lan.uplink,
        mode="bridge",
        mac=shim_mac(topology, leg.host, leg.subnet),
        mtu=leg.mtu,
        group=group_of(topology),
        alias=str(alias),
    )
    yield shim
    places = view.places(leg.subnet)
    reached = {own.family for place in places for own in place.addresses}
    found = {If.REACHES_IPV6} if 6 in reached else set[If]()
    yield from link_settings(Role.SHIM, HOST, name, shim.ref, shim.subject, (4, 6), found)
    for place in places:
        for own in place.addresses:
            yield Route(
                netns=HOST,
                family=own.family,
                dst=f"{own.address}/{HOST_LENGTH[own.family]}",
                dev=name,
                link=shim.ref,
                src=next((one.address for one in lan.own if one.family == own.family), ""),
                about=shim.subject,
            )
            yield Neighbor(netns=HOST, dev=name, address=own.address, mac=place.mac, link=shim.ref, about=shim.subject)


def compile_macvlan(view: HostView, place: Place, leg: Leg, owner: Ref) -> Macvlan:
    """A container's interface."""
    topology, subnet = view.topology.name, view.subnet(place)
    alias = Alias(topology, Macvlan.kind, place.container, place.subnet)
    uplink = leg.lan.uplink if leg.lan else ""
    netns = container_netns(place.container)
    # A lease is of the LAN's families. Without a link-local address the kernel asks for no router (addrconf_dad_completed).
    families = {own.family for own in place.addresses} or {cidr.version for cidr in subnet.cidrs}
    return Macvlan(
        netns=netns,
        name=place.interface,
        lower=uplink,
        mode=subnet.macvlan,
        mac=leg.mac if subnet.macvlan == "passthru" else place.mac,
        mtu=leg.mtu,
        group=group_of(topology),
        alias=str(alias),
        link_local=6 in families,
        owner=owner,
    )


def host_neighbors(view: HostView, place: Place, leg: Leg, own: Assigned, near: Ref | None, link: Ref) -> Iterator[Neighbor]:
    """The host is reached behind its own macvlan, which does not answer when it is asked for the host."""
    if view.subnet(place).macvlan != "bridge" or leg.lan is None:
        return
    mac = shim_mac(view.topology.name, leg.host, leg.subnet)
    for address in leg.lan.own:
        if address.family == own.family:
            about = f"container {place.container}"
            yield Neighbor(
                netns=container_netns(place.container),
                dev=place.interface,
                address=address.address,
                mac=mac,
                link=link,
                own_address=near,
                about=about,
            )
