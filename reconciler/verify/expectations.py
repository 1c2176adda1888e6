"""What a topology allows and forbids, as probes: `compile_probes`. Pure.

Every container has probes. If every pair would need thousands of probes, a sample that depends on the file only is
sent, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.compile.model import Resolved
from reconciler.probes.model import (
    ALLOWED,
    DEFAULT_GATEWAY,
    FORBIDDEN,
    IN_SUBNETS,
    ROUTES,
    TO_OUTSIDE,
    WITH_HOST,
    ClaimKind,
    ClaimProbe,
    Listener,
    PacketProbe,
    Probe,
    ProbePlan,
)
from reconciler.probes.spoofing import ADVERTISEMENT, ARP, NDP
from reconciler.state.host import HostFacts
from reconciler.state.lab import OUTSIDE_NETNS, ROUTER_NETNS
from reconciler.state.ref import LAB, container_netns
from reconciler.topology.types import Attachment, Container, Policy, PortRange, Subnet, Topology
from reconciler.verify.intrusions import intrusion_probes
from reconciler.verify.names import name_probes
from reconciler.verify.publications import published_probes
from reconciler.verify.routes import judge, misleads, route_probes, route_to
from reconciler.verify.view import (
    OUTSIDE,
    Origin,
    View,
    are_isolated,
    are_parted,
    family_of,
    host_origin,
    meets_host,
    members_meet,
    origin_of,
    token_of,
)

FULL_MATRIX = 32
"""The largest subnet in which every member probes every other."""
RING = 128
"""The members of a bigger subnet that probe one another.

Each pair costs two entries of the neighbor table. The whole machine has one, with 1,024 entries by default (gc_thresh3,
arp(7)): a ring of all members would fail by itself.
"""
CLOSED_PORTS = (7, 9, 13, 17, 19, 37)
"""Candidates for a port that no policy opens."""

OTHER_ROUTE = "a static route leads elsewhere there, or on the return path"

OPEN_MODES = ("nat", "routed", "direct", "macvlan")
"""The modes whose containers reach the outside."""


def compile_probes(topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts]) -> ProbePlan:
    """All probes of the topology, with the addresses that `compile` has chosen."""
    view = View(topology, resolved, facts)
    notes: list[str] = []
    probes = (
        *_in_subnets(view, notes),
        *_with_hosts(view),
        *_across_hosts(view),
        *_to_outside(view, notes),
        *published_probes(view),
        *_between_subnets(view, notes),
        *route_probes(view),
        *_from_outside(view),
        *_borrowed(view),
        *name_probes(view, notes),
        *intrusion_probes(view, notes),
    )
    # For a container with static routes, only destinations outside of these routes count.
    kept = (probe for probe in dict.fromkeys(probes) if not misleads(view, probe))
    return ProbePlan(tuple(kept), tuple(notes))


def ask(
    container: Container,
    target: str,
    address: str,
    *,
    section: str,
    why: str,
    subnet: str,
    expected: bool = True,
    size: int = 0,
    server: Listener | None = None,
    on_lan: bool = False,
) -> Probe:
    """A probe that starts in a container: a ping, or with a `server`, a connection to it."""
    return PacketProbe(
        **origin_of(container), target=target, section=section, kind=server.protocol if server else "icmp", address=address,
        expected=expected, why=why, port=server.port if server else 0, size=size, subnet=subnet, listener=server, on_lan=on_lan,
    )  # fmt: skip


def ping(
    origin: Origin,
    target: str,
    address: str,
    *,
    section: str,
    why: str,
    expected: bool = True,
    via: str = "",
    subnet: str = "",
) -> Probe:
    """An echo request from anywhere."""
    return PacketProbe(
        **origin, target=target, section=section, kind="icmp", address=address, expected=expected, why=why, via=via, subnet=subnet
    )


def _in_subnets(view: View, notes: list[str]) -> Iterator[Probe]:
    for subnet in view.topology.subnets.values():
        members = view.members(subnet.name) if members_meet(subnet) else ()
        if len(members) <= FULL_MATRIX:
            pairs = [(one, two) for one in members for two in members if one is not two]
        else:
            ring = members[:: -(-len(members) // RING)]
            pairs = list(zip(ring, (*ring[1:], ring[0]), strict=True))
            sampled = f"each probes its gateway, and {len(ring):,} of them probe one another in a ring"
            notes.append(f"{subnet.name} has {len(members):,} members: {sampled}")
        for (one, own), (two, attachment) in pairs:
            # netctl does not control a LAN's switches between two hosts.
            parted = are_parted(one, own, two, attachment) or (not subnet.is_lan and are_isolated(own, attachment))
            meet = not parted
            section, why = (IN_SUBNETS, f"both are in {subnet.name}") if meet else (FORBIDDEN, "both of their ports are isolated")
            for address in view.shared(one, own, two, attachment):
                yield ask(one, two.name, address, section=section, why=why, subnet=subnet.name, expected=meet)


def _with_hosts(view: View) -> Iterator[Probe]:
    for container in view.topology.containers.values():
        host = f"host {container.host}"
        for attachment in container.attachments:
            subnet = view.subnet(attachment)
            mtu = view.mtu(container, attachment)
            own = view.addresses(container, attachment)
            families = {family_of(address) for address in own}
            meets = meets_host(subnet, attachment)
            for gateway in view.gateways(container.host, subnet) if meets else ():
                if family_of(gateway) not in families:
                    continue
                why = "a container reaches its host"
                yield ask(container, host, gateway, section=WITH_HOST, why=why, subnet=subnet.name)
                if mtu:
                    why = f"packets of the whole MTU of {subnet.name} pass"
                    yield ask(container, host, gateway, section=WITH_HOST, why=why, subnet=subnet.name, size=mtu)
            for address in own if meets else ():
                why = "a host reaches its containers"
                origin = host_origin(container.host)
                yield ping(origin, container.name, address, section=WITH_HOST, why=why, subnet=subnet.name)
            if attachment.default and subnet.mode in ("nat", "routed"):
                for address in view.host_addresses(container.host):
                    if family_of(address) in families:
                        why = "a container reaches its host by the host's own address"
                        yield ask(container, host, address, section=WITH_HOST, why=why, subnet=subnet.name)


def _across_hosts(view: View) -> Iterator[Probe]:
    """In a subnet on several hosts, its containers and all its hosts reach each other, with packets of the whole MTU."""
    for subnet in view.topology.subnets.values():
        hosts, members = view.hosts(subnet.name), view.members(subnet.name)
        if len(hosts) < 2:
            continue
        firsts = {container.host: (container, own) for container, own in reversed(members) if not own.isolated}
        for container, attachment in members if len(members) <= FULL_MATRIX else firsts.values():
            own = view.addresses(container, attachment)
            families = {family_of(address) for address in own}
            for host in hosts:
                if host == container.host:
                    continue
                for gateway in view.gateways(host, subnet):
                    if family_of(gateway) in families:
                        why = f"{host} is in {subnet.name}, too"
                        yield ask(container, f"host {host}", gateway, section=WITH_HOST, why=why, subnet=subnet.name)
                for address in own:
                    why = f"a host of {subnet.name} reaches its containers on other hosts"
                    yield ping(host_origin(host), container.name, address, section=WITH_HOST, why=why, subnet=subnet.name)
        for one, first in firsts.values():
            size, why = view.mtu(one, first), f"packets of the whole MTU of {subnet.name} pass from {one.host}"
            for two, second in firsts.values():
                for address in view.shared(one, first, two, second) if two is not one and size else ():
                    yield ask(one, two.name, address, section=IN_SUBNETS, why=why, subnet=subnet.name, size=size)


def _to_outside(view: View, notes: list[str]) -> Iterator[Probe]:
    if not all(view.is_lab(name) for name in view.topology.hosts):
        notes.append("outside of a real host only its default gateway is probed, and no probe comes from there")
    for container in view.topology.containers.values():
        default = view.default(container)
        if default is None:
            continue
        subnet = view.subnet(default)
        if not view.is_lab(container.host):
            leads_out = subnet.mode == "nat" or view.has_router(container.host, subnet.name, 4)
            if leads_out and any(family_of(a) == 4 for a in view.addresses(container, default)):
                why = f"{subnet.name} is {subnet.mode}"
                target = ("the default gateway", DEFAULT_GATEWAY)
                yield ask(container, *target, section=TO_OUTSIDE, why=why, subnet=subnet.name, on_lan=subnet.is_lan)
            continue
        uplinks = {family_of(address) for address in view.host_addresses(container.host)}
        for address in view.addresses(container, default):
            family = family_of(address)
            if family in uplinks:
                yield from _one_to_outside(view, container, address, subnet.name)


def _one_to_outside(view: View, container: Container, own: str, subnet: str) -> Iterator[Probe]:
    family = family_of(own)
    mode, on_lan = view.topology.subnets[subnet].mode, view.topology.subnets[subnet].is_lan
    policies = list(view.policies(("container", container, own), ("outside", None, "")))
    is_open = mode in OPEN_MODES or any(not policy.ports for policy in policies)
    section = TO_OUTSIDE if is_open else FORBIDDEN
    why = f"{subnet} is {mode}" if mode in OPEN_MODES or not is_open else "a policy allows it to leave"
    yield ask(container, "outside", OUTSIDE[family], section=section, why=why, subnet=subnet, expected=is_open, on_lan=on_lan)
    if not is_open:
        server = Listener(LAB, OUTSIDE_NETNS, "tcp", family, 0, f"netctl {view.topology.name} outside")
        yield from _ports_of_policies(container, "outside", OUTSIDE[family], policies, server)


def _between_subnets(view: View, notes: list[str]) -> Iterator[Probe]:
    """Traffic that policies allow, and prohibited traffic: between containers that share no subnet of the target's address."""
    for one in sample(view, notes):
        near = {attachment.subnet for attachment in one.attachments}
        for subnet in view.topology.subnets.values():
            if subnet.name in near or subnet.is_lan:  # for other subnets, a container on a LAN is outside
                continue
            members = view.members(subnet.name)
            for two, attachment in members if len(members) <= FULL_MATRIX else members[:1]:
                if two is not one:
                    yield from _one_between(view, one, two, attachment)


def sample(view: View, notes: list[str]) -> tuple[Container, ...]:
    """All containers, or if there are many the first and the last of each set of replicas."""
    containers = tuple(view.topology.containers.values())
    if len(containers) <= FULL_MATRIX:
        return containers
    ends = {c.origin: c for c in reversed(containers)}, {c.origin: c for c in containers}
    chosen = {c.name for end in ends for c in end.values()}
    if len(chosen) < len(containers):
        notes.append("between subnets, only the first and the last of each set of replicas send probes")
    return tuple(c for c in containers if c.name in chosen)


def _one_between(view: View, one: Container, two: Container, attachment: Attachment) -> Iterator[Probe]:
    for address in view.addresses(two, attachment):
        route = route_to(view, one, address)
        own = route.source if route else view.source_address(one, family_of(address), attachment.subnet)
        verdict = judge(view, route, two, own) if own else "unknown"
        if verdict in ("open", "closed"):
            section, why = (ROUTES, "static routes lead there and back") if verdict == "open" else (FORBIDDEN, OTHER_ROUTE)
            yield ask(one, two.name, address, section=section, why=why, subnet=attachment.subnet, expected=verdict == "open")
        elif verdict == "" and (view.default(two) or route_to(view, two, own)):
            # Else it has no address of that family to send from, or the other has no route to answer.
            yield from _by_policies(view, one, own, two, attachment, address)


def _by_policies(view: View, one: Container, own: str, two: Container, attachment: Attachment, address: str) -> Iterator[Probe]:
    policies = list(view.policies(("container", one, own), ("container", two, address)))
    is_open = any(not policy.ports for policy in policies)
    why = "a policy allows it" if is_open else "no policy allows it"
    if not is_open and view.subnet(attachment).mode == "routed" and view.is_on_lan(one, own):
        # From a LAN every routed subnet is open, and only some routers have a route: the lab's has.
        if not view.is_lab(one.host):
            return
        is_open, why = True, f"{attachment.subnet} is routed, and {one.name} comes from a LAN"
    section = ALLOWED if is_open else FORBIDDEN
    yield ask(one, two.name, address, section=section, why=why, subnet=attachment.subnet, expected=is_open)
    if not is_open:
        server = Listener(two.host, container_netns(two.name), "tcp", family_of(address), 0, token_of(view, two))
        yield from _ports_of_policies(one, two.name, address, policies, server)


def _ports_of_policies(one: Container, target: str, address: str, policies: list[Policy], server: Listener) -> Iterator[Probe]:
    """If only some ports are open: the first of each range is, and a port outside of all ranges is not."""
    ranges = [ports for policy in policies for ports in policy.ports]
    asked = [(ports.protocol, ports.first, True) for ports in ranges]
    asked += [("tcp", port, False) for port in _closed_port(ranges)] if ranges else []
    for protocol, port, expected in asked:
        listener = Listener(server.host, server.netns, protocol, server.family, port, server.token)
        why = f"a policy allows {protocol} {port}" if expected else f"the policies do not name {protocol} {port}"
        section = ALLOWED if expected else FORBIDDEN
        yield ask(one, target, address, section=section, why=why, subnet="", expected=expected, server=listener)


def _closed_port(ranges: list[PortRange]) -> list[int]:
    free = (port for port in CLOSED_PORTS if not any(r.first <= port <= r.last for r in ranges if r.protocol == "tcp"))
    return [port for _, port in zip(range(1), free, strict=False)]


def _from_outside(view: View) -> Iterator[Probe]:
    """Only published ports are open from outside: neither a remote node nor a neighbour with a route reaches a container."""
    for subnet in view.topology.subnets.values():
        asked: set[str] = set()
        for container, attachment in view.members(subnet.name):
            if container.host in asked or not view.is_lab(container.host):
                continue
            if subnet.mode == "macvlan" and not attachment.default:
                continue  # its answer leaves by the default route, and the bridge there drops addresses of the LAN
            asked.add(container.host)  # one container of a host represents all: the rule is the host's
            uplinks = {family_of(a): a for a in view.host_addresses(container.host)}
            for address in view.addresses(container, attachment):
                if family_of(address) in uplinks:
                    yield from _one_from_outside(view, container, subnet.name, address, uplinks[family_of(address)])


def _one_from_outside(view: View, container: Container, subnet: str, address: str, uplink: str) -> Iterator[Probe]:
    mode = view.topology.subnets[subnet].mode
    outside = Origin(host=LAB, netns=OUTSIDE_NETNS, source="outside")
    if mode in ("routed", "direct", "macvlan"):  # only for these does the outside know a way
        if not view.default(container):
            return  # it receives packets from outside, and has no route to answer
        why = f"{subnet} is {mode}"
        yield ping(outside, container.name, address, section=TO_OUTSIDE, why=why)
        return
    why = f"{subnet} is {mode}, and outside hosts must not route into it"
    yield ping(outside, container.name, address, section=FORBIDDEN, why=why, expected=False)
    neighbour = Origin(host=LAB, netns=ROUTER_NETNS, source="a neighbour")
    yield ping(neighbour, container.name, address, section=FORBIDDEN, why=why, expected=False, via=uplink)


def _borrowed(view: View) -> Iterator[Probe]:
    """No container can use an address of another. One of each host and subnet represents all."""
    for subnet in view.topology.subnets.values():
        asked: set[str] = set()
        members = () if subnet.is_lan else view.members(subnet.name)
        for container, attachment in members:
            families = {family_of(address) for address in view.addresses(container, attachment)}
            if container.host not in asked and families:
                asked.add(container.host)
                for gateway in view.gateways(container.host, subnet):
                    if family_of(gateway) in families:
                        yield from _claims(view, container, attachment, gateway)


def _claims(view: View, container: Container, attachment: Attachment, gateway: str) -> Iterator[Probe]:
    claim = _free_address(view, view.subnet(attachment), family_of(gateway))
    bridge = view.bridge(container.host, attachment.subnet)
    kinds: tuple[tuple[ClaimKind, str], ...]
    kinds = ((ARP, ""),) if family_of(gateway) == 4 else ((NDP, ""), (ADVERTISEMENT, bridge))
    why = f"{claim} is not the address of {container.name}"
    for kind, heard_at in kinds if claim else ():
        yield ClaimProbe(
            **origin_of(container), target=f"host {container.host}, as {claim}", section=FORBIDDEN, kind=kind,
            address=gateway, expected=False, why=why, interface=attachment.interface, claim=claim, heard_at=heard_at,
        )  # fmt: skip


def _free_address(view: View, subnet: Subnet, family: int) -> str:
    """An unused address of the subnet, so that no node loses packets; "" if it has none."""
    members = {address for member in view.members(subnet.name) for address in view.addresses(*member)}
    taken = members.union(*(view.gateways(host, subnet) for host in view.hosts(subnet.name)))
    blocks = (cidr.hosts() for cidr in subnet.cidrs if cidr.version == family)
    return next((str(each) for block in blocks for each in block if str(each) not in taken), "")
