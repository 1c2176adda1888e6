"""The use of each container's share of connection tracking: for `status -v`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.compile.model import Resolved
from reconciler.topology.types import Topology


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a container on one of its networks, and its addresses there."""

    container: str
    subnet: str
    limit: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connections:
    """The number of connections that a container opened by one of its networks, and its limit there."""

    container: str
    subnet: str
    open: int
    limit: int


def shares_of(topology: Topology, resolved: Resolved, hosts: Iterable[str]) -> dict[str, tuple[Share, ...]]:
    """By host, the shares of its containers. A macvlan bypasses the host's connection tracking."""
    return {
        host: tuple(
            Share(name, endpoint.subnet, topology.containers[name].connections, tuple(own.address for own in endpoint.addresses))
            for name in resolved.containers.get(host, ())
            for endpoint in resolved.endpoints[name]
            if topology.subnets[endpoint.subnet].mode != "macvlan"
        )
        for host in hosts
        if host in topology.hosts
    }


def compile_shares(shares: Iterable[Share], counts: Mapping[str, int]) -> tuple[Connections, ...]:
    """The shares with their use, by the number of connections that each address opened."""
    return tuple(
        Connections(one.container, one.subnet, sum(counts.get(address, 0) for address in one.addresses), one.limit)
        for one in shares
    )


def render_connections(connections: Iterable[Connections], container: str) -> str:
    """`connections: 12 of 8,192 on front`; "" for a container without any network that counts."""
    found = [f"{one.open:,} of {one.limit:,} on {one.subnet}" for one in connections if one.container == container]
    return f"connections: {', '.join(found)}" if found else ""
