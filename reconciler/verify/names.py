"""What a container must be able to resolve, and what not: a query for each. Pure.

In a small topology every container asks for every name that it may know; in a larger one, each for one or two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.compile.names import NameReach, reach_of, visible
from reconciler.probes.model import NAMES, NameLookup
from reconciler.topology.types import Container
from reconciler.verify.view import View, origin_of

FULL_MATRIX = 32
"""The most containers of which each asks for every name."""
ELSEWHERE = "example.com"

Known = dict[tuple[str, str], tuple[str, ...]]
"""Addresses by container and subnet."""


def name_probes(view: View, notes: list[str]) -> Iterator[NameLookup]:
    """The queries of all containers that have a name server."""
    dns, topology = view.topology.dns, view.topology
    if dns is None:
        return
    everyone: Known = {
        (endpoint.container, endpoint.subnet): tuple(own.address for own in endpoint.addresses)
        for endpoints in view.resolved.endpoints.values()
        for endpoint in endpoints
        if topology.containers[endpoint.container].is_named and not topology.subnets[endpoint.subnet].is_lan
    }
    seen: dict[NameReach, Known] = {}
    askers = [(container, *place) for container in topology.containers.values() if (place := _server_of(view, container))]
    is_sampled = len(askers) > FULL_MATRIX
    if is_sampled:
        notes.append(f"each of {len(askers):,} containers asks for one name that it may know, and for one that it may not")
    for number, (container, server, subnet) in enumerate(askers):
        reach = reach_of(topology, container.name)
        if reach not in seen:
            seen[reach] = {
                (one.container, one.subnet): everyone[one.container, one.subnet]
                for one, _ in visible(topology, view.resolved, reach)
            }
        known = list(seen[reach].items())
        for (name, where), addresses in _some(known, number) if is_sampled else known:
            yield _lookup(container, server, name, f"{name}.{where}.{dns.domain}", addresses, "it may connect to that container")
        hidden = [item for item in everyone.items() if item[0] not in seen[reach]]
        for (name, where), _ in _some(hidden, number):
            yield _lookup(container, server, name, f"{name}.{where}.{dns.domain}", (), "it may not connect to that container")
        if topology.subnets[subnet].mode == "isolated":
            yield _lookup(container, server, "outside", ELSEWHERE, (), "its subnet is isolated")


def _some(items: Sequence[tuple[tuple[str, str], tuple[str, ...]]], number: int) -> list[tuple[tuple[str, str], tuple[str, ...]]]:
    return [items[number % len(items)]] if items else []


def _server_of(view: View, container: Container) -> tuple[str, str] | None:
    """The address of its name server, and the subnet of that; None without one."""
    if container.share or not container.is_named:
        return None
    served = [one for one in view.resolved.endpoints[container.name] if not view.topology.subnets[one.subnet].is_lan]
    for endpoint in sorted(served, key=lambda one: not one.defaults):
        families = {own.family for own in endpoint.addresses}
        for own in view.resolved.host_subnet_of(endpoint).addresses:
            if own.family in families:
                return own.address, endpoint.subnet
    return None


def _lookup(container: Container, server: str, target: str, name: str, addresses: tuple[str, ...], why: str) -> NameLookup:
    has_ipv4 = any("." in address for address in addresses)
    asked = tuple(address for address in addresses if ("." in address) == has_ipv4)
    return NameLookup(
        **origin_of(container), target=target, section=NAMES, address=server, expected=bool(addresses), why=why, name=name,
        addresses=asked,
    )  # fmt: skip
