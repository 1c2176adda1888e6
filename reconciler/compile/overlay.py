"""The records that join a host's part of a subnet to those of other hosts: all of its containers are on one segment.

Pure. Everything follows from the file. So no host learns addresses, and only broadcast and multicast are flooded. For
each remote address in the subnet, a container's or a host's own:

    tunnel   where its hardware address is: behind the tunnel's port (the bridge's table), and there behind which host (if the
             tunnel has a table); and a neighbor entry on the bridge, by which the host reaches it, and from which ARP and NDP
             are answered at home
    routes   a route to it by its host's underlay address, and a proxy entry, by which the bridge answers ARP or NDP for it

A host's cost grows with the addresses elsewhere in its subnets, and with nothing else: two to four entries each.
Packets between subnets are routed by the source's host and by the target's host, in both directions. So each of them sees whole
connections, and distinguishes a reply from a first packet. By itself a packet would leave a tunnel on the target's segment, past
its host. So a container that a policy names has, on the other hosts, a route by its own host (`_detours`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.compile.bridges import bridge_of
from reconciler.compile.model import Assigned, Endpoint, HostSubnet, RemoteHost, is_named
from reconciler.compile.overlays import overlay_of
from reconciler.compile.view import Egress, HostView
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.fdb import BROADCAST_MAC
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.state.naming import group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.state.uapi import HOST_LENGTH


@dataclass(frozen=True, slots=True)
class RemoteEndpoint:
    """A node of a subnet on another host: a container, or the host itself."""

    mac: str
    addresses: tuple[Assigned, ...]
    container: str = ""


def remotes_of(view: HostView, subnet: str) -> Iterator[RemoteEndpoint]:
    """The nodes of the subnet on the host: the host itself first, then its containers."""
    host_subnet = view.host_subnets[subnet]
    yield RemoteEndpoint(host_subnet.mac, host_subnet.addresses)
    for endpoint in view.endpoints(subnet):
        yield RemoteEndpoint(endpoint.mac, endpoint.addresses, endpoint.container)


def compile_overlay(view: HostView, host_subnet: HostSubnet) -> Iterator[Record]:
    """The records that join a host subnet to its peers; none if it has no peers."""
    about = Subject.subnet(host_subnet.subnet)
    yield from _tunnels(view, host_subnet)
    uplink = view.egress
    for peer in host_subnet.peers:
        for remote in remotes_of(view.beside(peer.host), host_subnet.subnet):
            if peer.is_tunnelled:
                yield from _tunnelled(view, host_subnet, peer, remote, about)
            else:
                yield from _routed(view.topology.name, host_subnet, peer, remote, uplink)


# --- by tunnel --------------------------------------------------------------------------------------------------------


def _tunnels(view: HostView, host_subnet: HostSubnet) -> Iterator[Record]:
    """The ports, and where they send broadcasts."""
    for end in host_subnet.tunnels:
        overlay = overlay_of(end)
        yield from bridge_of(view, host_subnet).tunnel(overlay.link(view.topology.name, host_subnet, end))
        for remote in end.remotes:
            yield from overlay.entries(end, remote, BROADCAST_MAC, Subject.subnet(host_subnet.subnet))


def _tunnelled(
    view: HostView, host_subnet: HostSubnet, peer: RemoteHost, remote: RemoteEndpoint, about: Subject
) -> Iterator[Record]:
    end = host_subnet.tunnel_to(peer)
    yield from overlay_of(end).entries(end, peer.hops[0], remote.mac, about)
    yield from bridge_of(view, host_subnet).entries_behind(end, remote.mac)
    for own in remote.addresses:
        near, announced = _own(host_subnet, own.family), host_subnet.is_inhabited
        yield Neighbor(
            netns=HOST,
            dev=host_subnet.bridge,
            address=own.address,
            mac=remote.mac,
            link=host_subnet.ref,
            own_address=near,
            about=about,
            announced=announced,
        )


def _own(host_subnet: HostSubnet, family: int) -> Ref | None:
    """The host's own IPv4 address on the bridge; with its loss, the bridge loses IPv4."""
    gateway = host_subnet.gateway(family)
    return Address.ref_of(HOST, host_subnet.bridge, gateway.cidr) if gateway and family == 4 else None


# --- by routes --------------------------------------------------------------------------------------------------------


def _routed(topology: str, host_subnet: HostSubnet, peer: RemoteHost, remote: RemoteEndpoint, uplink: Egress) -> Iterator[Record]:
    """The host's own packets have its address in the subnet, by which the remote host knows it."""
    about = Subject.subnet(host_subnet.subnet)
    for own in remote.addresses:
        gateway = host_subnet.gateway(own.family)
        source = Address.ref_of(HOST, host_subnet.bridge, gateway.cidr) if gateway else None
        yield _uplink_route(topology, own, peer, uplink, about, src=gateway.address if gateway else "", source=source)
        yield Neighbor(
            netns=HOST,
            dev=host_subnet.bridge,
            address=own.address,
            mac="",
            link=host_subnet.ref,
            proxy=True,
            own_address=_own(host_subnet, own.family),
            about=about,
        )


def _uplink_route(
    topology: str, own: Assigned, peer: RemoteHost, uplink: Egress, about: Subject, src: str = "", source: Ref | None = None
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
    """Routes to remote containers that a policy names, via the container's own host.

    If this host has a host subnet in the container's subnet, packets would reach it past its host (with routes they
    never do). If it has none, replies return over a subnet that both hosts share, because a party has a host subnet
    where it connects.
    """
    topology, resolved, host_subnets, uplink = view.topology, view.resolved, view.host_subnets, view.egress
    seen: set[str] = set()
    for host_subnet in host_subnets.values():
        askers = resolved.askers.get(host_subnet.subnet, frozenset())
        for peer in host_subnet.peers:
            if peer.is_tunnelled:
                for endpoint in view.beside(peer.host).endpoints(host_subnet.subnet):
                    if is_named(topology, endpoint, resolved.parties):
                        yield from _detour(view, host_subnet, peer, endpoint, seen)
            for name in view.beside(peer.host).containers if askers else ():
                for endpoint in resolved.endpoints[name]:
                    if endpoint.subnet in host_subnets or not is_named(topology, endpoint, askers):
                        continue
                    if peer.is_tunnelled:
                        yield from _detour(view, host_subnet, peer, endpoint, seen)
                        continue
                    for own in endpoint.addresses:
                        # A next hop of the family exists if the shared subnet has the family.
                        if host_subnet.gateway(own.family) and own.address not in seen:
                            seen.add(own.address)
                            yield _uplink_route(topology.name, own, peer, uplink, HOST_SUBJECT)  # its subnet is not here


def _detour(view: HostView, host_subnet: HostSubnet, peer: RemoteHost, endpoint: Endpoint, seen: set[str]) -> Iterator[Route]:
    """A route to the container via its host's own address in the subnet of `host_subnet`."""
    far = view.beside(peer.host).host_subnets[host_subnet.subnet]
    for own in endpoint.addresses:
        gateway, here = far.gateway(own.family), host_subnet.gateway(own.family)
        if gateway is None or here is None or own.address in seen:
            continue
        seen.add(own.address)
        yield Route(
            netns=HOST,
            family=own.family,
            dst=f"{own.address}/{HOST_LENGTH[own.family]}",
            dev=host_subnet.bridge,
            link=host_subnet.ref,
            via=gateway.address,
            address=_own(host_subnet, own.family),
            connected=Route.ref_of(HOST, own.family, here.network, host_subnet.bridge),
            about=Subject.subnet(host_subnet.subnet),
        )
