"""What a host's firewall knows: the elements of all sets and maps of `kinds.firewall.program`.

Pure. A published port, a container's address, a policy's pair is one element each, so that one more of them is one element
more. A set of the kernel refuses an interval that overlaps another, so policies are cut into pieces that do not
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
from reconciler.compile.disjoint import Box, disjoint, range_of, subtract
from reconciler.compile.isolation import isolated_subnets
from reconciler.compile.leases import find_leases
from reconciler.compile.model import Place
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
    SetElement,
    VxlanPort,
    VxlanSender,
)
from reconciler.kinds.firewall.traffic_elements import ANYWHERE, AllowedTraffic, PublishedPort
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.state.subject import HOST_SUBJECT
from reconciler.state.uapi import PROTOCOLS
from reconciler.topology.types import Network, Party, Policy

PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def compile_firewall(view: HostView) -> Iterator[Record]:
    """The three tables of a host that has a leg, and their elements."""
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
    for leg in view.legs.values():
        about = f"subnet {leg.subnet}"
        if leg.lan:
            if view.subnet(leg).mode == "direct" and bridge_type(leg).passes_netfilter:
                yield BridgePair(leg.bridge, leg.bridge), about
            continue
        yield LinkElement("bridges", leg.bridge), about
        yield BridgePair(leg.bridge, leg.bridge), about
        mode = view.subnet(leg).mode
        if mode == "nat":
            yield LinkElement("nat_bridges", leg.bridge), about
        if mode == "routed":
            yield LinkElement("routed_bridges", leg.bridge), about


def _prefixes(view: HostView) -> Iterator[Owned]:
    """own: all of the topology's; local: with a leg here; guarded: not to be routed to from outside; natted: masqueraded."""
    topology, legs, natted = view.topology, view.legs, set[Network]()
    for subnet in topology.subnets.values():
        # To the other subnets a LAN is the outside, and so are the containers on it.
        for cidr in subnet.cidrs if not subnet.is_lan else ():
            # Every host's firewall knows every subnet; where it has no bridge there, that is the host's own affair.
            about = f"subnet {subnet.name}" if subnet.name in legs else HOST_SUBJECT
            yield BlockElement("own", str(cidr)), about
            if subnet.name not in legs:
                continue
            yield BlockElement("local", str(cidr)), about
            if subnet.mode in ("nat", "isolated"):
                yield BlockElement("guarded", str(cidr)), about
            if subnet.mode == "nat":
                natted.add(cidr)
    for policy in topology.policies:
        if policy.target.kind == "outside":
            natted |= {ip_network(block) for block in _isolated_blocks(view, policy.source)}
    for network in collapse(iter(natted)):
        yield BlockElement("natted", plain_block(str(network))), HOST_SUBJECT


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
                yield element, f"container {port.container}"


def _returns(view: HostView) -> Iterator[Owned]:
    """Of a port published here for a container elsewhere: replies come back to this host, by its address in the subnet."""
    for port in view.resolved.ports:
        gateway = view.legs[port.subnet].gateway(port.family) if port.host == view.name else None
        if gateway and view.topology.containers[port.container].host != view.name:
            yield ReturnAddress(port.target, gateway.address), f"container {port.container}"


def _lan_clients(view: HostView) -> Iterator[Owned]:
    """Published containers that are on a LAN, too, and the clients whose answers they send there, past their host.

    Those are the LAN's, or all clients if the default route leads there. The host translates their addresses to its own, so that
    the answers come back to it.
    """
    found: dict[tuple[str, str], list[Network]] = {}
    for port in view.resolved.ports if any(subnet.is_lan for subnet in view.topology.subnets.values()) else ():
        for place in view.resolved.places[port.container] if port.host == view.name else ():
            if view.subnet(place).is_lan:
                everyone = (ip_network(ANYWHERE[port.family]),) if port.family in place.defaults else ()
                networks = (*everyone, *(cidr for cidr in view.subnet(place).cidrs if cidr.version == port.family))
                found.setdefault((port.container, port.target), []).extend(networks)
    for (container, target), clients in found.items():
        for network in collapse(iter(clients)):
            yield LanClients(target, str(network)), f"container {container}"


# --- other hosts ------------------------------------------------------------------------------------------------------


def _tunnels(view: HostView) -> Iterator[Owned]:
    """The UDP ports of VXLANs, and from which host to which address of ours."""
    elements: dict[SetElement, str] = {}
    for leg in view.legs.values():
        if leg.tunnel:
            about = f"subnet {leg.subnet}"
            elements[VxlanPort(leg.tunnel.port)] = about
            for vtep in leg.tunnel.vteps:
                if vtep != leg.tunnel.local:
                    elements[VxlanSender(vtep, leg.tunnel.local, leg.tunnel.port)] = about
    yield from elements.items()


def _peers(view: HostView) -> Iterator[Owned]:
    """Hosts that share a subnet with this one. Towards their own addresses a container has its host's, whatever its mode.

    They take nothing with an address of the subnet that comes by the underlay, for anybody could claim one there.
    """
    names = dict.fromkeys(peer.host for leg in view.legs.values() for peer in leg.peers)
    for name in names:
        for address in view.beside(name).host.addresses:
            yield BlockElement("peers", str(address)), HOST_SUBJECT


def _routed(view: HostView) -> Iterator[Owned]:
    """Within a subnet that routes join everything passes; and each neighbour may send what its own containers and it may.

    A container may use any of its own addresses, and who asks by a policy comes from another subnet; so they are all of the
    neighbour's.
    """
    neighbours: dict[str, str] = {}
    for leg in view.legs.values():
        if any(peer.way == "routes" for peer in leg.peers):
            for cidr in view.subnet(leg).cidrs:
                yield AllowedTraffic(source=str(cidr), target=str(cidr)), f"subnet {leg.subnet}"
            neighbours |= {peer.host: leg.subnet for peer in leg.peers if peer.way == "routes"}
    uplink = view.way_out.dev
    for neighbour, subnet in neighbours.items():
        there = view.beside(neighbour)
        own = [address for leg in there.legs.values() for address in leg.addresses]
        for name in there.containers:
            own += [address for place in view.resolved.places[name] for address in place.addresses]
        for address in own:
            yield SenderAddress("neighbours", uplink, there.uplink_mac, address.address), f"subnet {subnet}"


# --- who may use which address ----------------------------------------------------------------------------------------


def _own_addresses(view: HostView) -> Iterator[Owned]:
    """On each of its ports, a container may use that port's hardware address with any of its own addresses."""
    for container in view.containers:
        places = view.resolved.places[container]
        about = f"container {container}"
        own = [address for place in places for address in place.addresses]
        chain = PORT_ISOLATED if isolated_subnets(view.topology, container) else PORT
        for place in places:
            if view.subnet(place).mode == "macvlan" or not bridge_type(view.legs[place.subnet]).passes_netfilter:
                continue  # it has no port on the host, and passes by its filters; or the bridge has rules of its own
            yield PortFilter(place.port, chain), about
            yield PortMac(place.port, place.mac), about
            if view.subnet(place).mode == "direct":
                yield LinkElement("lan_ports", place.port), about
            for address in own:
                yield SenderAddress("addresses", place.port, place.mac, address.address), about
            if any(address.family == 6 for address in own):
                yield SenderAddress("addresses", place.port, place.mac, link_local_of(place.mac)), about


def _forwarded(view: HostView) -> Iterator[Owned]:
    """What a container may hand on besides what it says itself, because others have a static route by it."""
    prefixes: dict[tuple[Place, str], list[Network]] = {}
    for forward in view.resolved.forwards:
        if forward.router.host == view.name and bridge_type(view.legs[forward.router.subnet]).passes_netfilter:
            prefixes.setdefault((forward.router, forward.target), []).append(ip_network(forward.prefix))
    for (router, target), networks in prefixes.items():
        for network in collapse(iter(networks)):
            element = ForwardedPrefix(router.port, router.mac, plain_block(str(network)), target)
            yield element, f"container {router.container}"


def _permissions(view: HostView) -> Iterator[Owned]:
    """Which ports may send as a DHCP server, or as a router."""
    for name in view.containers:
        for place, attachment in zip(view.resolved.places[name], view.topology.containers[name].attachments, strict=True):
            if not bridge_type(view.legs[place.subnet]).passes_netfilter:
                continue
            if attachment.dhcp and view.subnet(place).mode == "direct":
                yield from _leases(view, place)
            for word in attachment.allow:
                yield LinkElement("dhcp_servers" if word == "dhcp-server" else "routers", place.port), f"container {name}"


def _leases(view: HostView, place: Place) -> Iterator[Owned]:
    about = f"container {place.container}"
    yield LinkElement("dhcp_clients", place.port), about
    for lease in find_leases(view, place):
        if ":" in lease:
            yield SenderAddress("addresses", place.port, place.mac, link_local_of(place.mac)), about
            yield SenderAddress("addresses", place.port, place.mac, lease), about
        else:
            yield SenderAddress("leases", place.port, place.mac, lease), about


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(view: HostView) -> Iterator[Owned]:
    """Each policy as boxes in the space of sources, targets and ports, less what an earlier policy covers.

    Between the host and its containers everything is allowed already, and so is what a nat or routed subnet sends outside,
    and what a routed one gets from there.
    """
    done: dict[tuple[bool, bool, int], list[Box]] = {}
    for policy in view.topology.policies:
        ends = _ends(view, policy)
        services = disjoint(((PROTOCOLS[p.protocol],) * 2, (p.first, p.last)) for p in policy.ports)
        for family in (4, 6):
            boxes: list[Box] = [
                tuple(range_of(block) for block in blocks) for blocks in ends if (":" in blocks[0]) == (family == 6)
            ]
            if services:
                boxes = [(*box, *service) for box in boxes for service in services]
            is_outbound = policy.target.kind == "outside"
            earlier = done.setdefault((is_outbound, bool(services), family), [])
            boxes = subtract(boxes, earlier)
            earlier += boxes
            for box in boxes:
                yield _traffic_of(box, family, is_outbound=is_outbound), _about(policy)


def _ends(view: HostView, policy: Policy) -> list[tuple[str, ...]]:
    """Source and target of what a policy allows, in every combination of their blocks; our own end only, if one is outside."""
    source, target = policy.source, policy.target
    if "host" in (source.kind, target.kind) or source.kind == "outside":
        return []  # a host and its containers may; and the outside reaches routed subnets, and no others
    if target.kind == "outside":
        return [(block,) for block in _isolated_blocks(view, source)]
    here = view.legs
    return [
        (block, block_to)
        for subnet, block in _blocks(view, source)
        for subnet_to, block_to in _blocks(view, target)
        # Within a subnet everything is allowed already.
        if subnet != subnet_to and (":" in block) == (":" in block_to) and (subnet in here or subnet_to in here)
    ]


def _isolated_blocks(view: HostView, party: Party) -> list[str]:
    """The party's blocks in isolated subnets that the host has a leg in: what a policy can let out."""
    here = view.legs
    return [
        block for subnet, block in _blocks(view, party) if subnet in here and view.topology.subnets[subnet].mode == "isolated"
    ]


def _blocks(view: HostView, party: Party) -> list[tuple[str, str]]:
    """Subnet and block of addresses: a subnet's prefixes, or the addresses of a container and its replicas."""
    if party.kind == "subnet":
        return [(party.name, str(cidr)) for cidr in view.topology.subnets[party.name].cidrs]
    return [
        (place.subnet, own.address)
        for container in view.topology.containers.values()
        if container.origin == party.name
        for place in view.resolved.places[container.name]
        if not view.subnet(place).is_lan
        for own in place.addresses
    ]


def _traffic_of(box: Box, family: int, *, is_outbound: bool) -> AllowedTraffic:
    """What a box of the space says: source, target unless that is the outside, then protocol and ports if not all."""
    end_count = 1 if is_outbound else 2
    ends, service = box[:end_count], box[end_count:]
    source, target, *_ = *(format_range(f"ipv{family}_addr", *end) for end in ends), ""
    if not service:
        return AllowedTraffic(source=source, target=target)
    (protocol, _), ports = service
    services = format_range("inet_service", *ports)
    return AllowedTraffic(source=source, target=target, protocol=PROTOCOL_NAMES[protocol], ports=services)


def _about(policy: Policy) -> str:
    return "policy from " + " to ".join(party.name or party.kind for party in (policy.source, policy.target))


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
)
_BRIDGE = (_own_addresses, _permissions, _forwarded, contain_isolated)
"""What finds the elements of a table, by its family."""
