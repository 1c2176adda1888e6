"""The data of a host's firewall: the elements of all sets and maps of `kinds.firewall.program`.

Pure. A published port, a container's address, or a policy's pair is one element each. So one more of them is one more
element. A set of the kernel rejects an interval that overlaps another, so policies are cut into disjoint pieces
(`compile.disjoint`).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from reconciler.compile.addresses import link_local_of, plain_block
from reconciler.compile.bridges import bridge_type
from reconciler.compile.containment import (
    Owned,
    contain_connections,
    contain_errors,
    contain_isolated,
    contain_marks,
    contain_source_ports,
)
from reconciler.compile.disjoint import RangeProduct, disjoint, range_of, subtract
from reconciler.compile.isolation import isolated_subnets
from reconciler.compile.leases import find_leases
from reconciler.compile.model import Endpoint, HostSubnet
from reconciler.compile.names import find_resolvers
from reconciler.compile.overlays import overlay_of
from reconciler.compile.resolve import collapse
from reconciler.compile.view import HostView
from reconciler.kinds.firewall.element_text import format_range
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.port_chains import PORT, PORT_ISOLATED
from reconciler.kinds.firewall.set_elements import (
    BlockElement,
    BridgePair,
    ForwardedPrefix,
    LanClients,
    LinkElement,
    PortFilter,
    PortMac,
    ReturnAddress,
    SenderAddress,
)
from reconciler.kinds.firewall.traffic_elements import ANYWHERE, AllowedTraffic, PublishedPort
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.state.uapi import PROTOCOLS
from reconciler.topology.types import Network, Party, Policy

PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def compile_firewall(view: HostView) -> Iterator[Record]:
    """The three tables of a host with a host subnet, and their elements."""
    for family, finders in (
        ("inet", _INET),
        ("bridge", _BRIDGE),
        ("arp", ()),
    ):
        yield FirewallTable(netns=HOST, family=family, topology=view.topology.name)
        for find in finders:
            for element, about in find(view):
                yield FirewallElement.of(HOST, family, view.topology.name, element, about)


# --- bridges and prefixes ---------------------------------------------------------------------------------------------


def _bridges(view: HostView) -> Iterator[Owned]:
    for host_subnet in view.host_subnets.values():
        about = Subject.subnet(host_subnet.subnet)
        if host_subnet.lan:
            if view.subnet(host_subnet).mode == "direct" and bridge_type(host_subnet).passes_netfilter:
                yield BridgePair(host_subnet.bridge, host_subnet.bridge), about
            continue
        yield LinkElement("bridges", host_subnet.bridge), about
        yield BridgePair(host_subnet.bridge, host_subnet.bridge), about
        mode = view.subnet(host_subnet).mode
        if mode == "nat":
            yield LinkElement("nat_bridges", host_subnet.bridge), about
        if mode == "routed":
            yield LinkElement("routed_bridges", host_subnet.bridge), about


def _prefixes(view: HostView) -> Iterator[Owned]:
    """own: the topology's; local: with a host subnet here; guarded: not routed to from outside; natted: masqueraded."""
    topology, host_subnets, natted = view.topology, view.host_subnets, set[Network]()
    owners: dict[str, Subject] = {}
    for subnet in topology.subnets.values():
        # For the other subnets a LAN, with its containers, is outside.
        for cidr in subnet.cidrs if not subnet.is_lan else ():
            # Every host's firewall has every subnet. If it has no bridge there, only the host itself uses it.
            about = Subject.subnet(subnet.name) if subnet.name in host_subnets else HOST_SUBJECT
            yield BlockElement("own", str(cidr)), about
            if subnet.name not in host_subnets:
                continue
            owners[str(cidr)] = about
            yield BlockElement("local", str(cidr)), about
            if subnet.mode in ("nat", "isolated"):
                yield BlockElement("guarded", str(cidr)), about
            if subnet.mode == "nat":
                natted.add(cidr)
    for policy in topology.policies:
        if policy.target.kind == "outside":
            natted |= {ip_network(block) for block in _isolated_blocks(view, policy.source)}
    own_endpoints = (endpoint for name in view.containers for endpoint in view.resolved.endpoints[name])
    owners |= {own.address: Subject.container(each.container) for each in own_endpoints for own in each.addresses}
    for block in (plain_block(str(network)) for network in collapse(iter(natted))):
        yield BlockElement("natted", block), owners.get(block, HOST_SUBJECT)


# --- published ports --------------------------------------------------------------------------------------------------


def _published(view: HostView) -> Iterator[Owned]:
    for port in view.resolved.ports:
        if port.host == view.name:
            anywhere = ANYWHERE[port.family] if port.sources else ""
            for source in port.sources or ("",):
                element = PublishedPort(
                    protocol=port.protocol,
                    port=port.port,
                    target=port.target,
                    target_port=port.to_port,
                    listen=port.listen or anywhere,
                    source=plain_block(source) if source else "",
                )
                yield element, Subject.container(port.container)


def _returns(view: HostView) -> Iterator[Owned]:
    """For a port published here for a remote container: replies return to this host, by its address in the subnet."""
    for port in view.resolved.ports:
        gateway = view.host_subnets[port.subnet].gateway(port.family) if port.host == view.name else None
        if gateway and view.topology.containers[port.container].host != view.name:
            yield ReturnAddress(port.target, gateway.address), Subject.container(port.container)


def _lan_clients(view: HostView) -> Iterator[Owned]:
    """Published containers that are on a LAN, too, and the clients whose answers they send there, past their host.

    These are the LAN's clients, or all clients if the default route leads there. The host translates their addresses to
    its own, so that the answers return to it.
    """
    found: dict[tuple[str, str], list[Network]] = {}
    for port in view.resolved.ports if any(subnet.is_lan for subnet in view.topology.subnets.values()) else ():
        for endpoint in view.resolved.endpoints[port.container] if port.host == view.name else ():
            if view.subnet(endpoint).is_lan:
                everyone = (ip_network(ANYWHERE[port.family]),) if port.family in endpoint.defaults else ()
                networks = (*everyone, *(cidr for cidr in view.subnet(endpoint).cidrs if cidr.version == port.family))
                found.setdefault((port.container, port.target), []).extend(networks)
    for (container, target), clients in found.items():
        for network in collapse(iter(clients)):
            yield LanClients(target, str(network)), Subject.container(container)


# --- other hosts ------------------------------------------------------------------------------------------------------


def _tunnels(view: HostView) -> Iterator[Owned]:
    """By what the packets of tunnels are known; those of several subnets may be known by the same."""
    tunnels = (end for host_subnet in view.host_subnets.values() for end in host_subnet.tunnels)
    for element in dict.fromkeys(element for end in tunnels for element in overlay_of(end).elements(end)):
        yield element, HOST_SUBJECT


def _peers(view: HostView) -> Iterator[Owned]:
    """Hosts that share a subnet with this one. Towards their own addresses a container has its host's, whatever its mode.

    They reject packets with an address of the subnet that arrive by the underlay, because any node could forge one
    there.
    """
    names = dict.fromkeys(peer.host for host_subnet in view.host_subnets.values() for peer in host_subnet.peers)
    for name in names:
        for address in view.beside(name).host.addresses:
            yield BlockElement("peers", str(address)), HOST_SUBJECT


def _routed(view: HostView) -> Iterator[Owned]:
    """Within a subnet that routes join everything passes; and each neighbour may send what its own containers and it may.

    A container may use any of its own addresses, and a peer of a policy is in another subnet. So all of them are the
    neighbour's.
    """
    neighbours: dict[str, None] = {}
    for host_subnet in view.host_subnets.values():
        if any(peer.overlay == "routes" for peer in host_subnet.peers):
            for cidr in view.subnet(host_subnet).cidrs:
                yield AllowedTraffic(source=str(cidr), target=str(cidr)), Subject.subnet(host_subnet.subnet)
            neighbours |= dict.fromkeys(peer.host for peer in host_subnet.peers if peer.overlay == "routes")
    uplink = view.egress.dev
    for neighbour in neighbours:
        there = view.beside(neighbour)
        endpoints = [endpoint for name in there.containers for endpoint in view.resolved.endpoints[name]]
        ends: tuple[HostSubnet | Endpoint, ...] = (*there.host_subnets.values(), *endpoints)
        for end in ends:
            is_here = end.subnet in view.host_subnets and not view.subnet(end).is_lan
            about = Subject.subnet(end.subnet) if is_here else HOST_SUBJECT
            for address in end.addresses:
                yield SenderAddress("neighbours", uplink, there.uplink_mac, address.address), about


# --- source filters ---------------------------------------------------------------------------------------------------


def _own_addresses(view: HostView) -> Iterator[Owned]:
    """On each of its ports, a container may use that port's hardware address with any of its own addresses."""
    for container in view.containers:
        endpoints = view.resolved.endpoints[container]
        about = Subject.container(container)
        own = [address for endpoint in endpoints for address in endpoint.addresses]
        chain = PORT_ISOLATED if isolated_subnets(view.topology, container) else PORT
        for endpoint in endpoints:
            if view.subnet(endpoint).mode == "macvlan" or not bridge_type(view.host_subnets[endpoint.subnet]).passes_netfilter:
                continue  # it has no port on the host, and passes by its filters; or the bridge has rules of its own
            yield PortFilter(endpoint.port, chain), about
            yield PortMac(endpoint.port, endpoint.mac), about
            if view.subnet(endpoint).mode == "direct":
                yield LinkElement("lan_ports", endpoint.port), about
            for address in own:
                yield SenderAddress("addresses", endpoint.port, endpoint.mac, address.address), about
            if any(address.family == 6 for address in own):
                yield SenderAddress("addresses", endpoint.port, endpoint.mac, link_local_of(endpoint.mac)), about


def _forwarded(view: HostView) -> Iterator[Owned]:
    """The packets that a container may forward besides its own, because others have a static route via it."""
    prefixes: dict[tuple[Endpoint, str], list[Network]] = {}
    for forward in view.resolved.forwards:
        if forward.router.host == view.name and bridge_type(view.host_subnets[forward.router.subnet]).passes_netfilter:
            prefixes.setdefault((forward.router, forward.target), []).append(ip_network(forward.prefix))
    for (router, target), networks in prefixes.items():
        for network in collapse(iter(networks)):
            element = ForwardedPrefix(router.port, router.mac, plain_block(str(network)), target)
            yield element, Subject.container(router.container)


def _permissions(view: HostView) -> Iterator[Owned]:
    """The ports that may send as a DHCP server, or as a router."""
    for name in view.containers:
        for endpoint, attachment in zip(view.resolved.endpoints[name], view.topology.containers[name].attachments, strict=True):
            if not bridge_type(view.host_subnets[endpoint.subnet]).passes_netfilter:
                continue
            if attachment.dhcp and view.subnet(endpoint).mode == "direct":
                yield from _leases(view, endpoint)
            for word in attachment.allow:
                yield LinkElement("dhcp_servers" if word == "dhcp-server" else "routers", endpoint.port), Subject.container(name)


def _leases(view: HostView, endpoint: Endpoint) -> Iterator[Owned]:
    about = Subject.container(endpoint.container)
    yield LinkElement("dhcp_clients", endpoint.port), about
    for lease in find_leases(view, endpoint):
        if ":" in lease:
            yield SenderAddress("addresses", endpoint.port, endpoint.mac, link_local_of(endpoint.mac)), about
            yield SenderAddress("addresses", endpoint.port, endpoint.mac, lease), about
        else:
            yield SenderAddress("leases", endpoint.port, endpoint.mac, lease), about


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(view: HostView) -> Iterator[Owned]:
    """Each policy as products of ranges in the space of sources, targets and ports, less what an earlier policy covers.

    All traffic between the host and its containers is allowed already. So is traffic from a nat or routed subnet to the
    outside, and from there to a routed one.
    """
    done: dict[tuple[bool, bool, int], list[RangeProduct]] = {}
    for policy in view.topology.policies:
        ends = _ends(view, policy)
        services = disjoint(((PROTOCOLS[p.protocol],) * 2, (p.first, p.last)) for p in policy.ports)
        for family in (4, 6):
            products: list[RangeProduct] = [
                tuple(range_of(block) for block in blocks) for blocks in ends if (":" in blocks[0]) == (family == 6)
            ]
            if services:
                products = [(*product, *service) for product in products for service in services]
            is_outbound = policy.target.kind == "outside"
            earlier = done.setdefault((is_outbound, bool(services), family), [])
            products = subtract(products, earlier)
            earlier += products
            for product in products:
                yield _traffic_of(product, family, is_outbound=is_outbound), policy.subject


def _ends(view: HostView, policy: Policy) -> list[tuple[str, ...]]:
    """Source and target of the traffic that a policy allows, in every combination of blocks; one side only, if one is outside."""
    source, target = policy.source, policy.target
    if "host" in (source.kind, target.kind) or source.kind == "outside":
        return []  # a host and its containers may communicate; the outside reaches routed subnets, and no others
    if target.kind == "outside":
        return [(block,) for block in _isolated_blocks(view, source)]
    here = view.host_subnets
    return [
        (block, block_to)
        for subnet, block in _blocks(view, source)
        for subnet_to, block_to in _blocks(view, target)
        # All traffic within a subnet is allowed already.
        if subnet != subnet_to and (":" in block) == (":" in block_to) and (subnet in here or subnet_to in here)
    ]


def _isolated_blocks(view: HostView, party: Party) -> list[str]:
    """The party's blocks in isolated subnets that the host has a host subnet in: the traffic that a policy can let out."""
    here = view.host_subnets
    return [
        block for subnet, block in _blocks(view, party) if subnet in here and view.topology.subnets[subnet].mode == "isolated"
    ]


def _blocks(view: HostView, party: Party) -> list[tuple[str, str]]:
    """Subnet and block of addresses: a subnet's prefixes, or the addresses of a container and its replicas."""
    if party.kind == "subnet":
        return [(party.name, str(cidr)) for cidr in view.topology.subnets[party.name].cidrs]
    return [
        (endpoint.subnet, own.address)
        for container in view.topology.containers.values()
        if container.origin == party.name
        for endpoint in view.resolved.endpoints[container.name]
        if not view.subnet(endpoint).is_lan
        for own in endpoint.addresses
    ]


def _traffic_of(product: RangeProduct, family: int, *, is_outbound: bool) -> AllowedTraffic:
    """What a box of the space says: source, target unless that is the outside, then protocol and ports if not all."""
    end_count = 1 if is_outbound else 2
    ends, service = product[:end_count], product[end_count:]
    source, target, *_ = *(format_range(f"ipv{family}_addr", *end) for end in ends), ""
    if not service:
        return AllowedTraffic(source=source, target=target)
    (protocol, _), ports = service
    services = format_range("inet_service", *ports)
    return AllowedTraffic(source=source, target=target, protocol=PROTOCOL_NAMES[protocol], ports=services)


_INET = (
    _bridges,
    _prefixes,
    _published,
    _returns,
    _lan_clients,
    _policies,
    _tunnels,
    _peers,
    _routed,
    contain_connections,
    contain_errors,
    contain_marks,
    contain_source_ports,
    find_resolvers,
)
_BRIDGE = (_own_addresses, _permissions, _forwarded, contain_isolated)
"""The functions that compile the elements of a table, by its family."""
