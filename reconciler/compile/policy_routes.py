"""Routes of a container whose default route leads into a LAN, to the subnets that policies connect it with.

Pure. The LAN's router has no route to a subnet of the topology. The host has one, and the container reaches it by its
other networks.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Assigned, Endpoint
from reconciler.compile.options import link_of
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route
from reconciler.state.ref import container_netns
from reconciler.state.subject import Subject
from reconciler.topology.types import Container, Party, Topology


def compile_policy_routes(view: HostView, container: Container) -> Iterator[Route]:
    """Routes by the first of the container's networks in which its host is a gateway, for each family."""
    endpoints = view.resolved.endpoints[container.name]
    for family in (4, 6):
        if not any(family in endpoint.defaults and view.subnet(endpoint).is_lan for endpoint in endpoints):
            continue
        candidates = ((endpoint, own, gateway) for endpoint in endpoints for own in endpoint.addresses if own.family == family
                if (gateway := view.host_subnets[endpoint.subnet].gateway(family)))  # fmt: skip
        if chosen := next(candidates, None):
            yield from _routes(view, container, chosen)


def _routes(view: HostView, container: Container, chosen: tuple[Endpoint, Assigned, Assigned]) -> Iterator[Route]:
    topology, (endpoint, own, gateway) = view.topology, chosen
    netns, dev = container_netns(container.name), endpoint.interface
    for name in joined_subnets(topology, container):
        for cidr in topology.subnets[name].cidrs:
            if cidr.version == own.family:
                yield Route(
                    netns=netns,
                    family=own.family,
                    dst=str(cidr),
                    dev=dev,
                    link=link_of(endpoint, view.subnet(endpoint)),
                    via=gateway.address,
                    address=Address.ref_of(netns, dev, own.cidr) if own.family == 4 else None,
                    connected=Route.ref_of(netns, own.family, own.network, dev),
                    about=Subject.container(container.name),
                )


def joined_subnets(topology: Topology, container: Container) -> list[str]:
    """The subnets, none of them a LAN or the container's own, that a policy connects the container with, in either direction."""
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
    containers = (each for each in topology.declared if party == Party("container", each.origin))
    return tuple(attachment.subnet for each in containers for attachment in each.attachments)
