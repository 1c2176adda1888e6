"""Containers that route for their neighbors: who has a static route by them, and to which prefix.

Pure. A container may send from its own addresses only. If a `routes` entry of another container names it as next hop, it may
also hand on what comes from the prefix behind it, to that container and to no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.compile.model import Forward, Place, Resolved
from reconciler.errors import Fault, Position
from reconciler.topology.types import DEFAULT_TUNNEL, Attachment, Topology


def find_forwards(topology: Topology, places: Mapping[str, tuple[Place, ...]]) -> tuple[Forward, ...]:
    """All of a topology's, in the order of the file. A next hop that is no container (a host, a router of a LAN) is none."""
    clients = [
        (place, to, str(via))
        for container in topology.containers.values()
        for place, attachment in zip(places[container.name], container.attachments, strict=True)
        for to, via in attachment.routes
    ]
    if not clients:
        return ()
    owners = {(place.subnet, own.address): place for found in places.values() for place in found for own in place.addresses}
    return tuple(
        Forward(router, client, str(to), own.address)
        for client, to, via in clients
        if (router := owners.get((client.subnet, via))) and router.container != client.container
        for own in client.addresses
        if own.family == to.version
    )


def find_unreachable_routers(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """A next hop has to be another one on the segment. An isolated port is not, for another; nor is who is behind routes."""
    yield from _find_selves(topology, resolved)
    for forward in resolved.forwards:
        router, client = forward.router, forward.client
        ways = {peer.host: peer.way for peer in resolved.leg_of(client).peers}
        if ways.get(router.host) == "routes":
            yield Fault(
                _position(topology, client),
                f"container {router.container} cannot be the next hop of {client.container}: it is on host {router.host}, "
                f"and {client.subnet} reaches that host by routes, not as one segment",
                f"write `overlay: {DEFAULT_TUNNEL}` in {client.subnet}, or put both containers on one host",
            )
        elif all(_attachment(topology, place).isolated for place in (router, client)):
            yield Fault(
                _position(topology, client),
                f"container {router.container} cannot be the next hop of {client.container}: "
                f"both are isolated in {client.subnet}",
                "remove `isolated: true` from one of the two, or the route",
            )


def _find_selves(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """Routes by the container's own address, which the kernel takes for directly connected ones."""
    for place, via in _hops(topology, resolved.places):
        if any(own.address == via for own in place.addresses):
            message = f"container {place.container} cannot be its own next hop: {via} is its address in {place.subnet}"
            yield Fault(_position(topology, place), message, "name the address of another container, or of a router")


def find_unknown_routers(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """Next hops that have no place in the file. On a LAN there may be routers of others; in a subnet of netctl's are none."""
    hops = {(place, via) for place, via in _hops(topology, resolved.places) if not topology.subnets[place.subnet].is_lan}
    if not hops:
        return
    known = {(place.subnet, own.address) for places in resolved.places.values() for place in places for own in place.addresses}
    known |= {(leg.subnet, own.address) for legs in resolved.legs.values() for leg in legs.values() for own in leg.addresses}
    for place, via in dict.fromkeys(_hops(topology, resolved.places)):
        if (place, via) in hops and (place.subnet, via) not in known:
            lost = f"what {place.container} sends there is lost"
            message = f"no container and no host of {place.subnet} has the next hop {via}: {lost}"
            yield Fault(_position(topology, place), message, "name the address of a container there, or of the host")


def _hops(topology: Topology, places: Mapping[str, tuple[Place, ...]]) -> Iterator[tuple[Place, str]]:
    """Every static route's place and next hop."""
    for container in topology.containers.values():
        for place, attachment in zip(places[container.name], container.attachments, strict=True):
            yield from ((place, str(via)) for _, via in attachment.routes)


def _attachment(topology: Topology, place: Place) -> Attachment:
    return next(each for each in topology.containers[place.container].attachments if each.subnet == place.subnet)


def _position(topology: Topology, place: Place) -> Position:
    origin = topology.containers[place.container].origin
    return topology.position(("containers", origin, "networks", place.subnet, "routes"))
