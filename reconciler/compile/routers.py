"""Containers that route for their neighbors: the containers with a static route via them, and its prefix.

Pure. A container may send from its own addresses only. If a `routes` entry of another container names it as next hop,
it may also forward packets from the prefix behind it. It may do so to that container and to no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.compile.model import Endpoint, Forward, Resolved
from reconciler.errors import Fault, Position
from reconciler.topology.types import DEFAULT_TUNNEL, Attachment, Topology


def find_forwards(topology: Topology, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> tuple[Forward, ...]:
    """All of a topology's forwards, in the order of the file.

    A next hop that is no container (a host, a LAN's router) has none.
    """
    clients = [
        (endpoint, to, str(via))
        for container in topology.containers.values()
        for endpoint, attachment in zip(endpoints[container.name], container.attachments, strict=True)
        for to, via in attachment.routes
    ]
    if not clients:
        return ()
    owners = {
        (endpoint.subnet, own.address): endpoint
        for found in endpoints.values()
        for endpoint in found
        for own in endpoint.addresses
    }
    return tuple(
        Forward(router, client, str(to), own.address)
        for client, to, via in clients
        if (router := owners.get((client.subnet, via))) and router.container != client.container
        for own in client.addresses
        if own.family == to.version
    )


def find_unreachable_routers(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """Next hops that are not reachable on the segment: an isolated port, for another one, and a node behind routes."""
    yield from _find_selves(topology, resolved)
    for forward in resolved.forwards:
        router, client = forward.router, forward.client
        overlays = {peer.host: peer.overlay for peer in resolved.host_subnet_of(client).peers}
        if overlays.get(router.host) == "routes":
            yield Fault(
                _position(topology, client),
                f"container {router.container} cannot be the next hop of {client.container}: it is on host {router.host}, "
                f"and {client.subnet} reaches that host by routes, not as one segment",
                f"write `overlay: {DEFAULT_TUNNEL}` in {client.subnet}, or put both containers on one host",
            )
        elif all(_attachment(topology, endpoint).isolated for endpoint in (router, client)):
            yield Fault(
                _position(topology, client),
                f"container {router.container} cannot be the next hop of {client.container}: "
                f"both are isolated in {client.subnet}",
                "remove `isolated: true` from one of the two, or the route",
            )


def _find_selves(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """Routes via the container's own address, which the kernel treats as directly connected."""
    for endpoint, via in _hops(topology, resolved.endpoints):
        if any(own.address == via for own in endpoint.addresses):
            message = f"container {endpoint.container} cannot be its own next hop: {via} is its address in {endpoint.subnet}"
            yield Fault(_position(topology, endpoint), message, "name the address of another container, or of a router")


def find_unknown_routers(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """Next hops that are not in the file. A LAN may have foreign routers; a subnet of netctl's has none."""
    hops = {
        (endpoint, via) for endpoint, via in _hops(topology, resolved.endpoints) if not topology.subnets[endpoint.subnet].is_lan
    }
    if not hops:
        return
    known = {
        (endpoint.subnet, own.address)
        for endpoints in resolved.endpoints.values()
        for endpoint in endpoints
        for own in endpoint.addresses
    }
    known |= {
        (host_subnet.subnet, own.address)
        for host_subnets in resolved.host_subnets.values()
        for host_subnet in host_subnets.values()
        for own in host_subnet.addresses
    }
    for endpoint, via in dict.fromkeys(_hops(topology, resolved.endpoints)):
        if (endpoint, via) in hops and (endpoint.subnet, via) not in known:
            lost = f"what {endpoint.container} sends there is lost"
            message = f"no container and no host of {endpoint.subnet} has the next hop {via}: {lost}"
            yield Fault(_position(topology, endpoint), message, "name the address of a container there, or of the host")


def _hops(topology: Topology, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> Iterator[tuple[Endpoint, str]]:
    """The endpoint and next hop of every static route."""
    for container in topology.containers.values():
        for endpoint, attachment in zip(endpoints[container.name], container.attachments, strict=True):
            yield from ((endpoint, str(via)) for _, via in attachment.routes)


def _attachment(topology: Topology, endpoint: Endpoint) -> Attachment:
    return next(each for each in topology.containers[endpoint.container].attachments if each.subnet == endpoint.subnet)


def _position(topology: Topology, endpoint: Endpoint) -> Position:
    origin = topology.containers[endpoint.container].origin
    return topology.position(("containers", origin, "networks", endpoint.subnet, "routes"))
