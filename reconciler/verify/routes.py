"""The targets of containers' static routes (`routes:`): their probes, and their effect on other probes. Pure.

A route precedes the default route, and bypasses the host if its next hop is a container: then no policy applies. The
next hop's bridge ports pass what `compile.routers` allows, in both directions or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from reconciler.compile.policy_routes import joined_subnets
from reconciler.probes.model import PUBLISHED, ROUTES, TO_OUTSIDE, WITH_HOST, PacketProbe, Probe, RouteLookup
from reconciler.state.lab import OUTSIDE_NETNS
from reconciler.state.ref import container_of, is_container_netns
from reconciler.topology.types import Attachment, Container, Network
from reconciler.verify.view import OUTSIDE, View, are_parted, family_of, origin_of

HOST_HOP, NO_HOP, UNKNOWN = "the host", "no container or host", "unknown: of a LAN, or another host"
Verdict = Literal["", "open", "closed", "unknown"]
"""Whether packets pass by static routes both ways; "" if none matters: then policies decide."""


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A static route of a container: its interface, its source address, and its target."""

    attachment: Attachment
    prefix: Network
    via: str
    source: str
    hop: str


def routes_of(view: View, container: Container) -> Iterator[StaticRoute]:
    """All routes of a container in whose family it has an address there."""
    for attachment in (each for each in container.attachments if each.routes):
        own = {family_of(address): address for address in view.addresses(container, attachment)}
        for prefix, via in attachment.routes:
            if prefix.version in own:
                hop = _hop(view, container, attachment, str(via))
                yield StaticRoute(attachment, prefix, str(via), own[prefix.version], hop)


def _hop(view: View, container: Container, attachment: Attachment, via: str) -> str:
    subnet = view.subnet(attachment)
    for other, asker in view.members(subnet.name):
        if via in view.addresses(other, asker):
            return other.name
    if via in view.gateways(container.host, subnet) and not subnet.is_lan:
        return HOST_HOP
    is_ours = any(via in view.gateways(host, subnet) for host in view.hosts(subnet.name))
    return UNKNOWN if subnet.is_lan or is_ours else NO_HOP


def route_to(view: View, container: Container, address: str) -> StaticRoute | None:
    """The static route of a container to an address outside its own subnets; None if none leads there."""
    target = ip_address(address)
    found = [route for route in routes_of(view, container) if target in route.prefix]
    return max(found, key=lambda route: route.prefix.prefixlen, default=None)


def judge(view: View, route: StaticRoute | None, two: Container, own: str) -> Verdict:
    """Whether a packet from `own`, an address of another container, reaches `two` by `route`, and the answer returns."""
    if route and route.hop == two.name:
        return "open"  # it is in a subnet of both, and has each of its addresses on each of its interfaces
    back = route_to(view, two, own)
    hops = {each.hop if each else HOST_HOP for each in (route, back)}
    if hops == {HOST_HOP}:
        return ""
    if UNKNOWN in hops:
        return "unknown"
    if route is None or back is None or route.hop != back.hop or route.hop == NO_HOP:
        return "closed"  # a router's ports pass only packets with a route in the other direction, too
    return _forwards(view.topology.containers[route.hop], (route.attachment.subnet, back.attachment.subnet), route.prefix.version)


def _forwards(router: Container, subnets: Iterable[str], family: int) -> Verdict:
    """Forwarding as far as the file determines it. IPv6 has no such switch for a single interface (ip-sysctl.rst)."""
    settings = [dict(each.sysctls) for each in router.attachments if each.subnet in subnets]
    values = {each.get("net.ipv4.conf.IFNAME.forwarding") for each in settings}
    if family == 6 or None in values:
        return "unknown"
    return "open" if values == {"1"} else "closed"


def misleads(view: View, probe: Probe) -> bool:
    """Whether a static route takes a probe, or its answer, by another path than the tested one."""
    if probe.section in (TO_OUTSIDE, WITH_HOST, PUBLISHED) and is_container_netns(probe.netns):
        name = container_of(probe.netns)
        address = probe.address if probe.address[:1].isdigit() or ":" in probe.address else ""
    elif probe.netns == OUTSIDE_NETNS and probe.target in view.topology.containers:
        name, address = probe.target, OUTSIDE[probe.family]
    else:
        return False
    route = route_to(view, view.topology.containers[name], address) if address else None
    return route is not None and route.hop != HOST_HOP


def route_probes(view: View) -> Iterator[Probe]:
    """Each route: the container's kernel picks its next hop, and a container of the topology answers."""
    for container in view.topology.containers.values():
        origin = origin_of(container)
        for route in routes_of(view, container):
            asked = _sample(route.prefix, _inner(view, container, route.prefix))
            interface, subnet = route.attachment.interface, route.attachment.subnet
            if asked:
                why = f"the file leads {route.prefix} by {route.via}"
                target = f"{route.prefix} by {route.via}"
                yield RouteLookup(
                    **origin, target=target, section=ROUTES, address=asked, expected=True, why=why,
                    subnet=subnet, via=route.via, interface=interface,
                )  # fmt: skip
            if route.hop not in (NO_HOP, UNKNOWN) and not _is_parted(view, container, route):
                why = f"it is the next hop of {container.name} to {route.prefix}"
                name = f"host {container.host}" if route.hop == HOST_HOP else route.hop
                yield PacketProbe(
                    **origin, target=name, section=ROUTES, kind="icmp", address=route.via, expected=True, why=why, subnet=subnet
                )


def _is_parted(view: View, container: Container, route: StaticRoute) -> bool:
    router = view.topology.containers.get(route.hop)
    endpoints = router.attachments if router else ()
    return any(router is not None and are_parted(container, route.attachment, router, asker) for asker in endpoints)


def _inner(view: View, container: Container, prefix: Network) -> list[Network]:
    """The parts of the prefix to which the container has a more specific route."""
    subnets = {each.subnet for each in container.attachments}.union(joined_subnets(view.topology, container))
    cidrs: list[Network] = [cidr for name in subnets for cidr in view.topology.subnets[name].cidrs]
    cidrs += [to for each in container.attachments for to, _ in each.routes]
    return [each for each in cidrs if each.version == prefix.version and each != prefix and each.subnet_of(prefix)]  # type: ignore[arg-type]


def _sample(prefix: Network, inner: list[Network]) -> str:
    """An address of the prefix outside of the others; "" if they cover it."""
    number = int(prefix.network_address) + (1 if prefix.num_addresses > 2 else 0)
    make = type(prefix.network_address)
    for each in sorted(inner, key=lambda network: (int(network.network_address), network.prefixlen)):
        if int(each.network_address) <= number <= int(each.broadcast_address):
            number = int(each.broadcast_address) + 1
    return str(make(number)) if number <= int(prefix.broadcast_address) else ""
