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
    Element,
    contain_connections,
    contain_errors,
    contain_isolated,
    contain_marks,
    contain_source_ports,
)
from reconciler.compile.disjoint import Box, disjoint, range_of, subtract
from reconciler.compile.isolation import isolated_subnets
from reconciler.compile.leases import find_leases
from reconciler.compile.model import Place, Port
from reconciler.compile.overlays import overlay_of
from reconciler.compile.resolve import collapse
from reconciler.compile.view import HostView
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.port_chains import PORT, PORT_ISOLATED
from reconciler.kinds.firewall.program import format_range
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.state.uapi import PROTOCOLS
from reconciler.topology.types import Network, Party, Policy

PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}

HOST_ITSELF = "host"
"""Whose an element is that belongs to no container, subnet or policy of this host."""


def compile_firewall(view: HostView) -> Iterator[Record]:
    """The three tables of a host that has a leg, and their elements."""
    for family, finders in (
        ("inet", _INET),
        ("bridge", _BRIDGE),
        ("arp", ()),
    ):
        yield FirewallTable(HOST, family, view.topology.name)
        for find in finders:
            for name, key, value, about in find(view):
                yield FirewallElement(HOST, family, view.topology.name, name, key, value, about)


# --- bridges and prefixes ---------------------------------------------------------------------------------------------


def _bridges(view: HostView) -> Iterator[Element]:
    for leg in view.legs.values():
        about = f"subnet {leg.subnet}"
        if leg.lan:
            if view.subnet(leg).mode == "direct" and bridge_type(leg).passes_netfilter:
                yield "same_bridge", f"{leg.bridge} . {leg.bridge}", "", about
            continue
        yield "bridges", leg.bridge, "", about
        yield "same_bridge", f"{leg.bridge} . {leg.bridge}", "", about
        mode = view.subnet(leg).mode
        if mode in ("nat", "routed"):
            yield f"{mode}_bridges", leg.bridge, "", about


def _prefixes(view: HostView) -> Iterator[Element]:
    """own: all of the topology's; local: with a leg here; guarded: not to be routed to from outside; natted: masqueraded."""
    topology, legs, natted = view.topology, view.legs, set[Network]()
    for subnet in topology.subnets.values():
        # To the other subnets a LAN is the outside, and so are the containers on it.
        for cidr in subnet.cidrs if not subnet.is_lan else ():
            # Every host's firewall knows every subnet; where it has no bridge there, that is the host's own affair.
            about = f"subnet {subnet.name}" if subnet.name in legs else HOST_ITSELF
            yield f"own{cidr.version}", str(cidr), "", about
            if subnet.name not in legs:
                continue
            yield f"local{cidr.version}", str(cidr), "", about
            if subnet.mode in ("nat", "isolated"):
                yield f"guarded{cidr.version}", str(cidr), "", about
            if subnet.mode == "nat":
                natted.add(cidr)
    for policy in topology.policies:
        if policy.target.kind == "outside":
            natted |= {ip_network(block) for block in _isolated_blocks(view, policy.source)}
    for network in collapse(iter(natted)):
        yield f"natted{network.version}", plain_block(str(network)), "", HOST_ITSELF


# --- published ports --------------------------------------------------------------------------------------------------


def _published(view: HostView) -> Iterator[Element]:
    for port in view.resolved.ports:
        if port.host == view.name:
            about, value = f"container {port.container}", f"{port.target} . {port.to_port}"
            for name, key in _published_keys(port):
                yield f"{name}{port.family}", key, value, about


def _published_keys(port: Port) -> Iterator[tuple[str, str]]:
    if port.sources:
        listen = port.listen or ANYWHERE[port.family]
        for source in port.sources:
            yield "published_from", f"{port.protocol} . {listen} . {port.port} . {plain_block(source)}"
    elif port.listen:
        yield "published_at", f"{port.protocol} . {port.listen} . {port.port}"
    else:
        yield "published", f"{port.protocol} . {port.port}"


def _returns(view: HostView) -> Iterator[Element]:
    """Of a port published here for a container elsewhere: replies come back to this host, by its address in the subnet."""
    for port in view.resolved.ports:
        gateway = view.legs[port.subnet].gateway(port.family) if port.host == view.name else None
        if gateway and view.topology.containers[port.container].host != view.name:
            yield f"returns{port.family}", port.target, gateway.address, f"container {port.container}"


def _lan_clients(view: HostView) -> Iterator[Element]:
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
            yield f"lan_clients{network.version}", f"{target} . {network}", "", f"container {container}"


# --- other hosts ------------------------------------------------------------------------------------------------------


def _tunnels(view: HostView) -> Iterator[Element]:
    """By what the packets of tunnels are known; those of several subnets may be known by the same."""
    elements = {
        element: f"subnet {leg.subnet}"
        for leg in view.legs.values()
        for end in leg.tunnels
        for element in overlay_of(end).elements(end)
    }
    for (name, key), about in elements.items():
        yield name, key, "", about


def _peers(view: HostView) -> Iterator[Element]:
    """Hosts that share a subnet with this one. Towards their own addresses a container has its host's, whatever its mode.

    They take nothing with an address of the subnet that comes by the underlay, for anybody could claim one there.
    """
    names = dict.fromkeys(peer.host for leg in view.legs.values() for peer in leg.peers)
    for name in names:
        for address in view.beside(name).host.addresses:
            yield f"peers{address.version}", str(address), "", "host"


def _routed(view: HostView) -> Iterator[Element]:
    """Within a subnet that routes join everything passes; and each neighbour may send what its own containers and it may.

    A container may use any of its own addresses, and who asks by a policy comes from another subnet; so they are all of the
    neighbour's.
    """
    neighbours: dict[str, str] = {}
    for leg in view.legs.values():
        if any(peer.way == "routes" for peer in leg.peers):
            for cidr in view.subnet(leg).cidrs:
                yield f"allowed{cidr.version}", f"{cidr} . {cidr}", "", f"subnet {leg.subnet}"
            neighbours |= {peer.host: leg.subnet for peer in leg.peers if peer.way == "routes"}
    uplink = view.way_out.dev
    for neighbour, subnet in neighbours.items():
        there = view.beside(neighbour)
        station = f"{uplink} . {there.uplink_mac}"
        own = [address for leg in there.legs.values() for address in leg.addresses]
        for name in there.containers:
            own += [address for place in view.resolved.places[name] for address in place.addresses]
        for address in own:
            yield f"neighbours{address.family}", f"{station} . {address.address}", "", f"subnet {subnet}"


# --- who may use which address ----------------------------------------------------------------------------------------


def _own_addresses(view: HostView) -> Iterator[Element]:
    """On each of its ports, a container may use that port's hardware address with any of its own addresses."""
    for container in view.containers:
        places = view.resolved.places[container]
        about = f"container {container}"
        own = [address for place in places for address in place.addresses]
        chain = PORT_ISOLATED if isolated_subnets(view.topology, container) else PORT
        for place in places:
            if view.subnet(place).mode == "macvlan" or not bridge_type(view.legs[place.subnet]).passes_netfilter:
                continue  # it has no port on the host, and passes by its filters; or the bridge has rules of its own
            station = f"{place.port} . {place.mac}"
            yield "ports", place.port, f"goto {chain}", about
            yield "macs", station, "", about
            if view.subnet(place).mode == "direct":
                yield "lan_ports", place.port, "", about
            for address in own:
                yield f"addresses{address.family}", f"{station} . {address.address}", "", about
            if any(address.family == 6 for address in own):
                yield "addresses6", f"{station} . {link_local_of(place.mac)}", "", about


def _forwarded(view: HostView) -> Iterator[Element]:
    """What a container may hand on besides what it says itself, because others have a static route by it."""
    prefixes: dict[tuple[Place, str], list[Network]] = {}
    for forward in view.resolved.forwards:
        if forward.router.host == view.name and bridge_type(view.legs[forward.router.subnet]).passes_netfilter:
            prefixes.setdefault((forward.router, forward.target), []).append(ip_network(forward.prefix))
    for (router, target), networks in prefixes.items():
        for network in collapse(iter(networks)):
            key = f"{router.port} . {router.mac} . {plain_block(str(network))} . {target}"
            yield f"forwarded{network.version}", key, "", f"container {router.container}"


def _permissions(view: HostView) -> Iterator[Element]:
    """Which ports may send as a DHCP server, or as a router."""
    sets = {"dhcp-server": "dhcp_servers", "router-advertisements": "routers"}
    for name in view.containers:
        for place, attachment in zip(view.resolved.places[name], view.topology.containers[name].attachments, strict=True):
            if not bridge_type(view.legs[place.subnet]).passes_netfilter:
                continue
            if attachment.dhcp and view.subnet(place).mode == "direct":
                yield from _leases(view, place)
            for word in attachment.allow:
                yield sets[word], place.port, "", f"container {name}"


def _leases(view: HostView, place: Place) -> Iterator[Element]:
    about, station = f"container {place.container}", f"{place.port} . {place.mac}"
    yield "dhcp_clients", place.port, "", about
    for lease in find_leases(view, place):
        if ":" in lease:
            yield "addresses6", f"{station} . {link_local_of(place.mac)}", "", about
            yield "addresses6", f"{station} . {lease}", "", about
        else:
            yield "leases4", f"{station} . {lease}", "", about


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(view: HostView) -> Iterator[Element]:
    """Each policy as boxes in the space of sources, targets and ports, less what an earlier policy covers.

    Between the host and its containers everything is allowed already, and so is what a nat or routed subnet sends outside,
    and what a routed one gets from there.
    """
    done: dict[tuple[str, int], list[Box]] = {}
    for policy in view.topology.policies:
        ends = _ends(view, policy)
        services = disjoint(((PROTOCOLS[p.protocol],) * 2, (p.first, p.last)) for p in policy.ports)
        for family in (4, 6):
            boxes: list[Box] = [
                tuple(range_of(block) for block in blocks) for blocks in ends if (":" in blocks[0]) == (family == 6)
            ]
            if services:
                boxes = [(*box, *service) for box in boxes for service in services]
            name = ("outbound" if policy.target.kind == "outside" else "allowed") + ("_ports" if services else "")
            earlier = done.setdefault((name, family), [])
            boxes = subtract(boxes, earlier)
            earlier += boxes
            for box in boxes:
                yield f"{name}{family}", _format_box(box, family, services=bool(services)), "", _about(policy)


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
        block
        for subnet, block in _blocks(view, party)
        if subnet in here and view.topology.subnets[subnet].mode == "isolated"
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


def _format_box(box: Box, family: int, *, services: bool) -> str:
    ends = box[:-2] if services else box
    parts = [format_range(f"ipv{family}_addr", first, last) for first, last in ends]
    if services:
        (protocol, _), (first, last) = box[-2:]
        parts += [PROTOCOL_NAMES[protocol], format_range("inet_service", first, last)]
    return " . ".join(parts)


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
