"""Containers that route for their neighbors: who has a static route by them, and to which prefix.

Called by `compile.firewall`, `compile.host` and `compile.resolve`. Pure. A container may send from its own addresses only. If a
`routes` entry of another container names it as next hop, it may also hand on what comes from the prefix behind it, to that
container and to no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.compile.model import Forward, Place, Resolved
from reconciler.errors import Fault
from reconciler.topology.types import Topology


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
    """A next hop has to be on the segment. With `overlay: routes` another host's containers are not: the hosts route to them."""
    for forward in resolved.forwards:
        router, client = forward.router, forward.client
        ways = {peer.host: peer.way for peer in resolved.leg_of(client).peers}
        if ways.get(router.host) == "routes":
            yield Fault(
                topology.position(
                    ("containers", topology.containers[client.container].origin, "networks", client.subnet, "routes")
                ),
                f"container {router.container} cannot be the next hop of {client.container}: it is on host {router.host}, "
                f"and {client.subnet} reaches that host by routes, not as one segment",
                f"write `overlay: vxlan` in {client.subnet}, or put both containers on one host",
            )
