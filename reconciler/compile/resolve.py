"""From the file to host subnets, endpoints and ports: the location, names and addresses of all.

Pure. Names and hardware addresses are computed from the topology's words alone (state.naming).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.compile.addresses import Assignment, assign_addresses
from reconciler.compile.fits import find_misfits
from reconciler.compile.lan import lan_subnet
from reconciler.compile.model import Assigned, Endpoint, HostSubnet, Resolved, ResolvedPort
from reconciler.compile.overlay_paths import OverlayPaths, overlay_paths_of
from reconciler.compile.routers import find_forwards, find_unreachable_routers
from reconciler.errors import Fault
from reconciler.state.host import HostFacts
from reconciler.state.naming import interface_name, mac_of
from reconciler.state.uapi import BRIDGE_PORTS_MAX
from reconciler.topology.host_subnets import host_subnets_of
from reconciler.topology.types import Attachment, Container, Network, Party, Publication, Subnet, Topology


def resolve(topology: Topology, facts: Mapping[str, HostFacts]) -> tuple[Resolved, tuple[Fault, ...]]:
    """Choose all that the file leaves open; the faults are subnets that are too small, and bridges with too many ports."""
    hosts_of = host_subnets_of(topology)
    assignment = assign_addresses(topology, hosts_of, facts)
    host_subnets: dict[str, dict[str, HostSubnet]] = {host: {} for host in topology.hosts}
    faults = [*assignment.faults, *_crowded(topology)]
    inhabited = {lease.subnet for known in facts.values() for lease in known.leases}
    for subnet in topology.subnets.values():
        paths = OverlayPaths(mtu=0) if subnet.is_lan else overlay_paths_of(topology, subnet, hosts_of[subnet.name], facts)
        faults += paths.faults
        for host in hosts_of[subnet.name]:
            known = facts.get(host, HostFacts(exists=False))
            if subnet.is_lan:
                host_subnet = lan_subnet(topology, subnet, topology.hosts[host], known)
            else:
                host_subnet = _host_subnet(topology.name, subnet, host, paths, assignment, is_inhabited=subnet.name in inhabited)
            host_subnets[host][subnet.name] = replace(host_subnet, kind=subnet.bridge)
    endpoints = {container.name: _endpoints(topology, container, assignment) for container in topology.containers.values()}
    ports = tuple(_ports(topology, endpoints))
    members: dict[tuple[str, str], list[Endpoint]] = {}
    containers: dict[str, list[str]] = {}
    for container in topology.containers.values():
        containers.setdefault(container.host, []).append(container.name)
        for endpoint in endpoints[container.name]:
            members.setdefault((container.host, endpoint.subnet), []).append(endpoint)
    resolved = Resolved(
        host_subnets,
        endpoints,
        ports,
        {key: tuple(found) for key, found in members.items()},
        {host: tuple(names) for host, names in containers.items()},
        *_parties(topology),
        forwards=find_forwards(topology, endpoints),
    )
    return resolved, (*faults, *find_unreachable_routers(topology, resolved), *find_misfits(topology, resolved, facts))


def _parties(topology: Topology) -> tuple[frozenset[Party], dict[str, frozenset[Party]]]:
    """The parties of policies between subnets; and for each subnet, the parties that may connect to its nodes."""
    subnets_of: dict[Party, set[str]] = {Party("subnet", name): {name} for name in topology.subnets}
    for container in topology.declared:
        subnets_of.setdefault(Party("container", container.origin), set()).update(a.subnet for a in container.attachments)
    named: set[Party] = set()
    askers: dict[str, set[Party]] = {}
    for policy in topology.policies:
        if policy.source in subnets_of and policy.target in subnets_of:
            named |= {policy.source, policy.target}
            for subnet in subnets_of[policy.target]:
                askers.setdefault(subnet, set()).add(policy.source)
    return frozenset(named), {subnet: frozenset(parties) for subnet, parties in askers.items()}


def _host_subnet(
    topology: str, subnet: Subnet, host: str, paths: OverlayPaths, assignment: Assignment, *, is_inhabited: bool
) -> HostSubnet:
    return HostSubnet(
        host,
        subnet.name,
        bridge=interface_name("b-", topology, subnet.name),
        mac=mac_of(topology, "bridge", host, subnet.name),
        mtu=paths.mtu,
        addresses=assignment.gateways.get((subnet.name, host), ()),
        peers=paths.peers.get(host, ()),
        tunnels=paths.tunnels.get(host, ()),
        is_inhabited=is_inhabited,
    )


def _rank(topology: Topology, attachment: Attachment) -> tuple[bool, bool]:
    return not attachment.default, topology.subnets[attachment.subnet].mode == "isolated"


def _endpoints(topology: Topology, container: Container, assignment: Assignment) -> tuple[Endpoint, ...]:
    addresses = [assignment.containers.get((each.subnet, container.name), ()) for each in container.attachments]
    # `sorted` is stable: the network of the default routes precedes those with a route to the outside, each as listed.
    # It is called for each family, because the first may have one only.
    order = sorted(range(len(addresses)), key=lambda index: _rank(topology, container.attachments[index]))
    carrier: dict[int, int] = {}
    for index in order if any(each.default for each in container.attachments) else ():
        for own in addresses[index] if not container.attachments[index].declines else ():
            carrier.setdefault(own.family, index)
    return tuple(
        Endpoint(
            container.name,
            container.host,
            attachment.subnet,
            attachment.interface,
            port=interface_name("v-", topology.name, container.name, attachment.subnet),
            mac=attachment.mac or mac_of(topology.name, container.name, attachment.subnet),
            addresses=addresses[index],
            defaults=tuple(family for family, endpoint in carrier.items() if endpoint == index),
        )
        for index, attachment in enumerate(container.attachments)
    )


def _ports(topology: Topology, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> Iterator[ResolvedPort]:
    for container in topology.containers.values():
        for publication in container.publications:
            endpoint = next(endpoint for endpoint in endpoints[container.name] if endpoint.subnet == publication.subnet)
            for own in endpoint.addresses:
                yield from _ports_of(publication, endpoint, own)


def _ports_of(publication: Publication, endpoint: Endpoint, own: Assigned) -> Iterator[ResolvedPort]:
    """The ports of one publication that lead to one of the container's addresses."""
    listen = publication.address
    if listen is not None and listen.version != own.family:
        return
    sources = tuple(str(source) for source in collapse(s for s in publication.sources if s.version == own.family))
    if publication.sources and not sources:
        return
    for host in publication.hosts:
        for offset in range(publication.count):
            yield ResolvedPort(
                host,
                endpoint.container,
                endpoint.subnet,
                own.family,
                publication.protocol,
                listen="" if listen is None or listen.is_unspecified else str(listen),
                port=publication.port + offset,
                target=own.address,
                to_port=publication.to_port + offset,
                sources=sources,
            )


def collapse(networks: Iterator[Network]) -> tuple[Network, ...]:
    """The networks without those that lie within another: sets of the kernel reject an interval that overlaps."""
    kept: list[Network] = []
    for network in sorted(set(networks), key=lambda n: (n.version, int(n.network_address), n.prefixlen)):
        if not (kept and kept[-1].version == network.version and int(network.network_address) <= int(kept[-1].broadcast_address)):
            kept.append(network)
    return tuple(kept)


def _crowded(topology: Topology) -> Iterator[Fault]:
    count: dict[tuple[str, str], int] = {}
    for container in topology.containers.values():
        for attachment in container.attachments:
            key = (container.host, attachment.subnet)
            count[key] = count.get(key, 0) + 1
    for (host, subnet), number in count.items():
        if number > BRIDGE_PORTS_MAX:
            yield Fault(
                topology.position(("subnets", subnet)),
                f"subnet {subnet} has {number:,} containers on host {host}, a bridge takes {BRIDGE_PORTS_MAX:,} ports at most",
                "spread them over several subnets or hosts",
            )
