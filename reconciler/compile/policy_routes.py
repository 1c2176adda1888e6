"""Routes of a container whose default route leads into a LAN, to the subnets that policies join it with.

Pure. The LAN's router knows no way to a subnet of the topology. The host knows one, and the container reaches it by its other
networks.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Assigned, Place
from reconciler.compile.options import link_of
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route
from reconciler.state.ref import container_netns
from reconciler.topology.types import Container, Party, Topology


def compile_policy_routes(view: HostView, container: Container) -> Iterator[Route]:
    """By the first of the container's networks in which its host is a gateway, for each family."""
    places = view.resolved.places[container.name]
    for family in (4, 6):
        if not any(family in place.defaults and view.subnet(place).is_lan for place in places):
            continue
        ways = ((place, own, gateway) for place in places for own in place.addresses if own.family == family
                if (gateway := view.legs[place.subnet].gateway(family)))  # fmt: skip
        if way := next(ways, None):
            yield from _routes(view, container, way)


def _routes(view: HostView, container: Container, way: tuple[Place, Assigned, Assigned]) -> Iterator[Route]:
    topology, (place, own, gateway) = view.topology, way
    netns, dev = container_netns(container.name), place.interface
    for name in joined_subnets(topology, container):
        for cidr in topology.subnets[name].cidrs:
            if cidr.version == own.family:
                yield Route(
                    netns=netns,
                    family=own.family,
                    dst=str(cidr),
                    dev=dev,
                    link=link_of(place, view.subnet(place)),
                    via=gateway.address,
                    address=Address.ref_of(netns, dev, own.cidr) if own.family == 4 else None,
                    connected=Route.ref_of(netns, own.family, own.network, dev),
                    about=f"container {container.name}",
                )


def joined_subnets(topology: Topology, container: Container) -> list[str]:
    """The subnets, none of them a LAN or the container's own, that a policy joins the container with, in either direction."""
    own = {attachment.subnet for attachment in container.attachments}
    parties = {Party("container", container.origin), *(Party("subnet", name) for name in own)}
    found: dict[str, None] = {}
    for policy in topology.policies:
        for near, far in ((policy.source, policy.target), (policy.target, policy.source)):
            if near in parties:
                found |= dict.fromkeys(_subnets_of(topology, far))
    return [name for name in found if name not in own and not topology.subnets[name].is_lan]


def _subnets_of(topology: Topology, party: Party) -> tuple[str, ...]:
    if party.kind == "subnet":
        return (party.name,)
    containers = (each for each in topology.containers.values() if party == Party("container", each.origin))
    return tuple(attachment.subnet for each in containers for attachment in each.attachments)
