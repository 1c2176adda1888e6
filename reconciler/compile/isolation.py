"""The containers that are isolated from each other, and the ports by which a router would connect them. Pure.

A bridge separates isolated ports. A router does not: the host's own address in the subnet, another host's, the gateway
of a container's second network, or the LAN's. So each port of a container that is isolated in a subnet is closed
towards the isolated addresses of that subnet.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.addresses import link_local_of
from reconciler.compile.model import Endpoint, HostSubnet
from reconciler.compile.view import HostView
from reconciler.topology.types import Topology

LINK_LOCAL = "fe80::/10"


def is_isolated(topology: Topology, endpoint: Endpoint) -> bool:
    """Whether the endpoint is an isolated port."""
    return endpoint.subnet in isolated_subnets(topology, endpoint.container)


def isolated_subnets(topology: Topology, container: str) -> tuple[str, ...]:
    """The subnets in which the container's port is isolated."""
    return tuple(each.subnet for each in topology.containers[container].attachments if each.isolated)


def isolated_members(view: HostView, host_subnet: HostSubnet) -> Iterator[Endpoint]:
    """The isolated endpoints of a subnet: those on the host subnet's own host, then those on its peers."""
    for host in (host_subnet.host, *(peer.host for peer in host_subnet.peers)):
        for endpoint in view.beside(host).endpoints(host_subnet.subnet):
            if is_isolated(view.topology, endpoint):
                yield endpoint


def closed_prefixes(topology: Topology, port: Endpoint) -> Iterator[str]:
    """The prefixes in which packets from the port reach no isolated address: a port accepts all its container's addresses.

    A router sends a packet for a link-local address back by the link where it came in (ip6_forward), so those count,
    too.
    """
    for subnet in isolated_subnets(topology, port.container):
        yield from (str(cidr) for cidr in topology.subnets[subnet].cidrs)
    if is_isolated(topology, port) and _has_ipv6(port):
        yield LINK_LOCAL


def addresses_of(endpoint: Endpoint) -> Iterator[str]:
    """All addresses by which a router finds the endpoint, its link-local address included."""
    yield from (own.address for own in endpoint.addresses)
    if _has_ipv6(endpoint):
        yield link_local_of(endpoint.mac)


def _has_ipv6(endpoint: Endpoint) -> bool:
    return any(own.family == 6 for own in endpoint.addresses)
