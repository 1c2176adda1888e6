"""The records that join a host's leg to those of the other hosts, so that containers on all of them are as on one segment.

Pure. Everything follows from the file, so nothing is learnt, and nothing is flooded but true broadcast. For each address
elsewhere in the subnet, a container's or a host's own:

    vxlan    where its hardware address is: behind the VXLAN port (the bridge's table), and there behind which host (the VXLAN's);
             and a neighbor entry on the bridge, by which the host reaches it, and from which ARP and NDP are answered at home
    routes   a route to it by its host's underlay address, and a proxy entry, by which the bridge answers ARP or NDP for it

A host's cost grows with the addresses elsewhere in its subnets, and with nothing else: two to four entries each.
Packets between subnets are routed by both hosts, the source's and the target's, in both directions, so that each of them sees
whole connections and can tell a reply from a first packet. By itself a VXLAN would be left on the target's segment, past its
host; so who is named by a policy gets, on the other hosts, a route by its own host (`_detours`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.compile.bridges import bridge_of
from reconciler.compile.model import Assigned, Leg, Place, RemoteHost, Tunnel, is_named
from reconciler.compile.view import HostView, WayOut
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.fdb import BROADCAST_MAC, Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.state.naming import group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.uapi import HOST_LENGTH


@dataclass(frozen=True, slots=True)
class Station:
    """Somebody in a subnet on another host: a container, or the host itself."""

    mac: str
    addresses: tuple[Assigned, ...]
    container: str = ""


def stations_of(view: HostView, subnet: str) -> Iterator[Station]:
    """Who is in the subnet on the host: itself first, then its containers."""
    leg = view.legs[subnet]
    yield Station(leg.mac, leg.addresses)
    for place in view.places(subnet):
        yield Station(place.mac, place.addresses, place.container)


def compile_overlay(view: HostView, leg: Leg) -> Iterator[Record]:
    """What joins a leg to its peers; nothing where it has none."""
    about = f"subnet {leg.subnet}"
    if leg.tunnel:
        yield from _tunnel(view, leg, leg.tunnel)
    uplink = view.way_out
    for peer in leg.peers:
        for station in stations_of(view.beside(peer.host), leg.subnet):
            if peer.is_tunnelled:
                yield from _tunnelled(view, leg, peer, station, about)
            else:
                yield from _routed(view.topology.name, leg, peer, station, uplink)


# --- by VXLAN ---------------------------------------------------------------------------------------------------------


def _tunnel(view: HostView, leg: Leg, tunnel: Tunnel) -> Iterator[Record]:
    """The VXLAN port, and where it sends what is for everybody."""
    yield from bridge_of(view, leg).tunnel(tunnel)
    for peer in leg.peers:
        if peer.is_tunnelled:
            yield Fdb(netns=HOST, dev=tunnel.name, mac=BROADCAST_MAC, remote=peer.hops[0], about=f"subnet {leg.subnet}")


def _tunnelled(view: HostView, leg: Leg, peer: RemoteHost, station: Station, about: str) -> Iterator[Record]:
    if leg.tunnel is None:
        return
    yield Fdb(netns=HOST, dev=leg.tunnel.name, mac=station.mac, remote=peer.hops[0], about=about)
    yield from bridge_of(view, leg).entries_behind(leg.tunnel, station.mac)
    for own in station.addresses:
        near, announced = _own(leg, own.family), leg.is_inhabited
        yield Neighbor(
            netns=HOST,
            dev=leg.bridge,
            address=own.address,
            mac=station.mac,
            link=leg.ref,
            own_address=near,
            about=about,
            announced=announced,
        )


def _own(leg: Leg, family: int) -> Ref | None:
    """The host's own IPv4 address on the bridge, with which all of IPv4 there comes and goes."""
    gateway = leg.gateway(family)
    return Address.ref_of(HOST, leg.bridge, gateway.cidr) if gateway and family == 4 else None


# --- by routes --------------------------------------------------------------------------------------------------------


def _routed(topology: str, leg: Leg, peer: RemoteHost, station: Station, uplink: WayOut) -> Iterator[Record]:
    """The host itself speaks with its address in the subnet, by which the far side knows it."""
    about = f"subnet {leg.subnet}"
    for own in station.addresses:
        gateway = leg.gateway(own.family)
        source = Address.ref_of(HOST, leg.bridge, gateway.cidr) if gateway else None
        yield _uplink_route(topology, own, peer, uplink, about, src=gateway.address if gateway else "", source=source)
        yield Neighbor(
            netns=HOST,
            dev=leg.bridge,
            address=own.address,
            mac="",
            link=leg.ref,
            proxy=True,
            own_address=_own(leg, own.family),
            about=about,
        )


def _uplink_route(
    topology: str, own: Assigned, peer: RemoteHost, uplink: WayOut, about: str, src: str = "", source: Ref | None = None
) -> Route:
    return Route(
        netns=HOST,
        family=own.family,
        dst=f"{own.address}/{HOST_LENGTH[own.family]}",
        dev=uplink.dev,
        link=None,
        via=peer.hop(own.family),
        src=src,
        metric=group_of(topology),
        address=source if own.family == 4 else None,
        connected=source if own.family == 6 else None,
        uplink=uplink.uplink,
        about=about,
    )


# --- between subnets --------------------------------------------------------------------------------------------------


def compile_detours(view: HostView) -> Iterator[Route]:
    """Routes to containers on other hosts that a policy names, by the container's own host.

    Where this host has a leg in the container's subnet, packets would go to it past its host (by routes they never do). Where
    it has none, replies find back over a subnet that both hosts are in, for who asks has a leg where it asks.
    """
    topology, resolved, legs, uplink = view.topology, view.resolved, view.legs, view.way_out
    seen: set[str] = set()
    for leg in legs.values():
        askers = resolved.askers.get(leg.subnet, frozenset())
        for peer in leg.peers:
            if peer.is_tunnelled:
                for place in view.beside(peer.host).places(leg.subnet):
                    if is_named(topology, place, resolved.parties):
                        yield from _detour(view, leg, peer, place, seen)
            for name in view.beside(peer.host).containers if askers else ():
                for place in resolved.places[name]:
                    if place.subnet in legs or not is_named(topology, place, askers):
                        continue
                    if peer.is_tunnelled:
                        yield from _detour(view, leg, peer, place, seen)
                        continue
                    for own in place.addresses:
                        # A next hop of the family is there where the subnet that both are in has the family.
                        if leg.gateway(own.family) and own.address not in seen:
                            seen.add(own.address)
                            yield _uplink_route(topology.name, own, peer, uplink, f"subnet {leg.subnet}")


def _detour(view: HostView, leg: Leg, peer: RemoteHost, place: Place, seen: set[str]) -> Iterator[Route]:
    """A route to the container by its host's own address in the subnet of `leg`."""
    far = view.beside(peer.host).legs[leg.subnet]
    for own in place.addresses:
        gateway, here = far.gateway(own.family), leg.gateway(own.family)
        if gateway is None or here is None or own.address in seen:
            continue
        seen.add(own.address)
        yield Route(
            netns=HOST,
            family=own.family,
            dst=f"{own.address}/{HOST_LENGTH[own.family]}",
            dev=leg.bridge,
            link=leg.ref,
            via=gateway.address,
            address=_own(leg, own.family),
            connected=Route.ref_of(HOST, own.family, here.network, leg.bridge),
            about=f"subnet {leg.subnet}",
        )
