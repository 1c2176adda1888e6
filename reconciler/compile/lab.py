"""The lab: the world around lab hosts, made of namespaces on this machine.

Pure. Its records belong to a pseudo-host called `lab`, whose worker runs in the machine's own namespace and touches
only the namespaces that are named here:

    lab:<host>     a host; its uplink is one end of a veth, the other is a port of its segment's bridge in the router
    lab:router     a bridge for each segment with the segment's first address (.1, ::1), forwarding between them
    lab:outside    the world, behind the router: 203.0.113.10 and 2001:db8:ffff::10 (documentation prefixes, RFC 5737 and 3849)

Hosts whose addresses share a /24 (or /64) are on one segment; a host with both families joins their segments to one.
The router has routes to routed subnets, via the address of their host, and none to other addresses of the hosts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from reconciler.compile.host import address_ref, connect, default_route
from reconciler.compile.model import Assigned, HostSubnet
from reconciler.compile.overlay import remotes_of
from reconciler.compile.settings import link_settings
from reconciler.compile.underlay import underlay_of, uplink_mac_of, uplink_of
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.port import PORT_DEFAULTS
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.link_settings import Role
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.lab import OUTSIDE_INTERFACES, OUTSIDE_NETNS, ROUTER_NETNS
from reconciler.state.naming import Alias, group_of, interface_name, mac_of
from reconciler.state.record import Record
from reconciler.state.ref import LAB, LAB_UPLINK, lab_netns
from reconciler.state.subject import LAB_SUBJECT
from reconciler.state.uapi import HOST_LENGTH
from reconciler.topology.types import Host, Subnet, Topology

OUTSIDE_ADDRESSES = tuple(Assigned(each.version, str(each.ip), str(each.network)) for each in OUTSIDE_INTERFACES)
MTU = 1500


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the underlay: its networks, and the hosts on it."""

    name: str
    networks: tuple[str, ...]
    hosts: tuple[str, ...]

    @property
    def bridge(self) -> str:
        """The router's bridge of the segment."""
        return interface_name("s-", self.name)


def compile_lab(topology: Topology, views: Mapping[str, HostView]) -> Iterator[Record]:
    """All records of the lab; none without a lab host."""
    hosts = [host for host in topology.hosts.values() if host.connect.scheme == "lab"]
    if not hosts:
        return
    for member in (ROUTER_NETNS, OUTSIDE_NETNS, *(lab_netns(host.name) for host in hosts)):
        yield Netns(member)
    router = Netns.ref_of(ROUTER_NETNS)
    yield Sysctl(netns=ROUTER_NETNS, key="net.ipv4.ip_forward", value="1", owner=router)
    yield Sysctl(netns=ROUTER_NETNS, key="net.ipv6.conf.all.forwarding", value="1", owner=router)
    yield from _outside(topology.name)
    for segment in find_segments(hosts):
        yield from _segment(topology, views, segment)


def first_address(network: str) -> str:
    """The router's address in a network: `.1`, `::1`."""
    return str(ip_network(network)[1])


def find_segments(hosts: list[Host]) -> tuple[Segment, ...]:
    """Hosts that share a network are on one segment, directly or through others; the order of hosts does not matter."""
    groups: list[tuple[set[str], set[str]]] = []
    for host in hosts:
        networks, names = {own.network for own in underlay_of(host)}, {host.name}
        if not networks:
            continue
        for group in [group for group in groups if group[0] & networks]:
            groups.remove(group)
            networks |= group[0]
            names |= group[1]
        groups.append((networks, names))
    segments = []
    for networks, names in groups:
        ordered = sorted(networks, key=lambda network: (":" in network, network))
        name = ordered[0].partition("/")[0].replace(":", "-")
        segments.append(Segment(name, tuple(ordered), tuple(sorted(names))))
    return tuple(sorted(segments, key=lambda segment: segment.name))


def _outside(topology: str) -> Iterator[Record]:
    """The world: a cable from the router, by which it has all its routes."""
    alias = Alias(topology, LAB, "outside")
    cable = Veth(
        netns=ROUTER_NETNS,
        name="outside",
        peer_netns=OUTSIDE_NETNS,
        peer_name=LAB_UPLINK,
        mac=mac_of(topology, LAB, "outside"),
        mtu=MTU,
        peer_mtu=MTU,
        group=group_of(topology),
        alias=str(alias),
        altname=Veth.altname_of(alias, "outside"),
        link_local=True,
        owner=Netns.ref_of(ROUTER_NETNS),
        peer_owner=Netns.ref_of(OUTSIDE_NETNS),
    )
    yield cable
    yield from link_settings(Role.LAB_ROUTER, ROUTER_NETNS, cable.name, cable.ref, LAB_SUBJECT, (4,))
    for own in OUTSIDE_ADDRESSES:
        router = first_address(own.network)
        yield from connect(ROUTER_NETNS, cable.name, Assigned(own.family, router, own.network), cable.ref, LAB_SUBJECT)
        yield from connect(OUTSIDE_NETNS, LAB_UPLINK, own, cable.ref, cable.subject)
        yield default_route(OUTSIDE_NETNS, LAB_UPLINK, own, router, cable.ref, cable.subject)


def _segment(topology: Topology, views: Mapping[str, HostView], segment: Segment) -> Iterator[Record]:
    alias = Alias(topology.name, LAB, segment.name)
    bridge = Bridge(
        netns=ROUTER_NETNS,
        name=segment.bridge,
        mac=mac_of(topology.name, LAB, "segment", segment.name),
        mtu=MTU,
        group=group_of(topology.name),
        alias=str(alias),
        altname=Bridge.altname_of(alias, segment.bridge),
        link_local=True,
        owner=Netns.ref_of(ROUTER_NETNS),
    )
    yield bridge
    yield from link_settings(Role.LAB_ROUTER, ROUTER_NETNS, bridge.name, bridge.ref, bridge.subject, (4,))
    for network in segment.networks:
        own = Assigned(6 if ":" in network else 4, first_address(network), network)
        yield from connect(ROUTER_NETNS, bridge.name, own, bridge.ref, bridge.subject)
    for name in segment.hosts:
        yield from _host(topology.name, topology.hosts[name], bridge)
        yield from _learnt_routes(views[name], bridge)


def _host(topology: str, host: Host, bridge: Bridge) -> Iterator[Record]:
    """A host's uplink, its addresses, and its default route via the router."""
    alias = Alias(topology, LAB, host.name)
    name = interface_name("h-", host.name)
    cable = Veth(
        netns=ROUTER_NETNS,
        name=name,
        peer_netns=lab_netns(host.name),
        peer_name=uplink_of(host),
        mac=uplink_mac_of(topology, host),
        mtu=MTU,
        peer_mtu=MTU,
        group=group_of(topology),
        alias=str(alias),
        master=bridge.name,
        altname=Veth.altname_of(alias, name),
        port_options=PORT_DEFAULTS,
        owner=bridge.owner,
        peer_owner=Netns.ref_of(lab_netns(host.name)),
    )
    yield cable
    for own in underlay_of(host):
        router = first_address(own.network)
        yield from connect(cable.peer_netns, cable.peer_name, own, cable.ref, cable.subject)
        yield default_route(cable.peer_netns, cable.peer_name, own, router, cable.ref, cable.subject)


def _learnt_routes(view: HostView, bridge: Bridge) -> Iterator[Route]:
    """The routes that a real router would be configured with: those to subnets whose own addresses are reachable.

    Of a subnet on several hosts, there is a route to each address via its host, so that both directions take one path.
    """
    underlay = {own.family: own for own in underlay_of(view.host)}
    for host_subnet in view.host_subnets.values():
        if not is_reached_directly(view.topology, view.subnet(host_subnet)):
            continue
        for family, destination in _destinations(view, host_subnet):
            own = underlay.get(family)
            if own is None:
                continue
            router = Assigned(own.family, first_address(own.network), own.network)
            yield Route(
                netns=ROUTER_NETNS,
                family=family,
                dst=destination,
                dev=bridge.name,
                link=bridge.ref,
                via=own.address,
                address=address_ref(ROUTER_NETNS, bridge.name, router),
                connected=Route.ref_of(ROUTER_NETNS, own.family, own.network, bridge.name),
                about=bridge.subject,
            )


def _destinations(view: HostView, host_subnet: HostSubnet) -> Iterator[tuple[int, str]]:
    if not host_subnet.peers:
        yield from ((cidr.version, str(cidr)) for cidr in view.subnet(host_subnet).cidrs)
        return
    for remote in remotes_of(view, host_subnet.subnet):
        yield from ((own.family, f"{own.address}/{HOST_LENGTH[own.family]}") for own in remote.addresses)


def is_reached_directly(topology: Topology, subnet: Subnet) -> bool:
    """Whether outside nodes use the subnet's own addresses: it is routed, or isolated with a policy that lets them in."""
    return subnet.mode == "routed" or (
        subnet.mode == "isolated"
        and any(
            policy.source.kind == "outside" and subnet.name in _subnets_of(topology, policy.target.kind, policy.target.name)
            for policy in topology.policies
        )
    )


def _subnets_of(topology: Topology, kind: str, name: str) -> set[str]:
    if kind == "subnet":
        return {name}
    return {
        attachment.subnet for container in topology.declared if container.origin == name for attachment in container.attachments
    }
