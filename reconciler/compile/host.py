"""The records of one host: its legs, its containers and how they are connected, and the settings that this takes.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.compile.bridges import bridge_of
from reconciler.compile.bridges.base import ContainerPort
from reconciler.compile.fast_path import compile_fast_path
from reconciler.compile.firewall import compile_firewall
from reconciler.compile.macvlan import compile_macvlan, compile_shim, host_neighbors
from reconciler.compile.model import Assigned, Lan, Leg, Place
from reconciler.compile.options import compile_options, link_of
from reconciler.compile.overlay import compile_detours, compile_overlay
from reconciler.compile.policy_routes import compile_policy_routes
from reconciler.compile.settings import compile_settings, container_settings, gateway_settings, link_settings
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.netns import Netns
from reconciler.kinds.process import Process
from reconciler.kinds.settings.link_settings import If, Role
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.topology.types import Attachment, Container, Subnet


def compile_host(view: HostView) -> Iterator[Record]:
    """Everything that the topology wants on the host; nothing if it has no leg and no container there."""
    if view.legs:
        yield from compile_settings(view)
        for leg in view.legs.values():
            yield from _leg(view, leg)
            yield from compile_overlay(view, leg)
        yield from compile_detours(view)
        yield from compile_firewall(view)
        if view.facts.fast_path:
            yield from compile_fast_path(view)
        yield from (DockerUser(HOST, command, view.topology.name) for command in view.facts.docker_user_chain)
    for name in view.containers:
        yield from _container(view, view.topology.containers[name])


# --- legs -------------------------------------------------------------------------------------------------------------


def _leg(view: HostView, leg: Leg) -> Iterator[Record]:
    if leg.lan:
        if leg.lan.is_taken_in:
            yield from _direct_leg(view, leg, leg.lan)
        if view.subnet(leg).mode == "macvlan":
            yield from compile_shim(view, leg, leg.lan)
        return
    yield from bridge_of(view, leg).make()
    yield from gateway_settings(view, leg)
    for own in leg.addresses:
        yield from connect(HOST, leg.bridge, own, leg.ref, f"subnet {leg.subnet}", announced=leg.is_inhabited)


def _direct_leg(view: HostView, leg: Leg, lan: Lan) -> Iterator[Record]:
    """A bridge in the place of the uplink: with its hardware address and its MTU, and what addresses it had are the bridge's."""
    yield from link_settings(Role.LAN_BRIDGE, HOST, leg.bridge, leg.ref, f"subnet {leg.subnet}", (4,))
    bridge = bridge_of(view, leg)
    yield from bridge.make()
    yield from bridge.uplink(lan.uplink)


def connect(netns: str, dev: str, own: Assigned, link: Ref, about: str, *, announced: bool = False) -> Iterator[Address | Route]:
    """An address, and the connected route of its prefix."""
    address = Address(netns=netns, dev=dev, cidr=own.cidr, link=link, announced=announced, about=about)
    yield address
    yield Route(
        netns=netns,
        family=own.family,
        dst=own.network,
        dev=dev,
        link=link,
        address=address.ref if own.family == 4 else None,
        about=about,
    )


def default_route(netns: str, dev: str, own: Assigned, via: str, link: Ref, about: str) -> Route:
    """The default route of a family, by the neighbor `via`."""
    return Route(
        netns=netns,
        family=own.family,
        dst="default",
        dev=dev,
        link=link,
        via=via,
        address=address_ref(netns, dev, own),
        connected=Route.ref_of(netns, own.family, own.network, dev),
        about=about,
    )


def address_ref(netns: str, dev: str, own: Assigned) -> Ref | None:
    """The address with which IPv4 on an interface comes and goes; None for IPv6."""
    return Address.ref_of(netns, dev, own.cidr) if own.family == 4 else None


# --- containers -------------------------------------------------------------------------------------------------------


def _container(view: HostView, container: Container) -> Iterator[Record]:
    if container.existing and not container.attachments:
        return  # there is nothing to wire, and nothing else of it is netctl's
    netns = container_netns(container.name)
    places = view.resolved.places[container.name]
    ipv6 = any(own.family == 6 for place in places for own in place.addresses)
    advertised = any(each.dhcp and has_ipv6(view.topology.subnets[each.subnet]) for each in container.attachments)
    ipv6 = ipv6 or advertised
    owner: Record
    if container.spec.runtime == "netns":
        owner = Netns(netns, ipv6, heeds_routers=advertised)
        yield owner
        if container.spec.command:
            yield Process(netns=netns, container=container.name, command=container.spec.command, env=container.spec.env)
    else:
        owner = _engine_container(container, netns)
        yield owner
        yield from _namespace_settings(netns, owner.ref, ipv6=ipv6, existing=container.existing, advertised=advertised)
    if advertised:
        # A new link asks for routers when it comes up, if it heeds them by then.
        yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_ra", value="2", owner=owner.ref)
    yield from compile_policy_routes(view, container)
    several = len(places) > 1 or container.existing
    for place, attachment in zip(places, container.attachments, strict=True):
        subnet = view.subnet(place)
        leg = view.legs[place.subnet]
        # Only the container's end is told: a bridge would take over a smaller one of its port.
        mtu = min(leg.mtu, attachment.mtu or leg.mtu)
        options_of = tuple(compile_options(place, subnet, attachment))
        yield from options_of
        chosen = {record.key for record in options_of if isinstance(record, Sysctl)}
        forwards = [each for each in view.resolved.forwards if each.router == place]
        circumstances = {If.ADVERTISED if attachment.dhcp and has_ipv6(subnet) else If.NOT_ADVERTISED}
        circumstances |= ({If.SEVERAL} if several else set()) | ({If.ROUTER} if forwards else set())
        yield from container_settings(place, attachment, link_of(place, subnet), circumstances, chosen)
        if attachment.dhcp:
            yield from _dhcp(container.name, place, subnet, attachment)
        if subnet.mode == "macvlan":
            yield from _macvlan_place(view, place, replace(leg, mtu=mtu), owner.ref)
            continue
        hairpin = _is_hairpin(container, attachment, subnet)
        yield from bridge_of(view, leg).port(ContainerPort(place, attachment, owner.ref, mtu, hairpin))
        yield from _place(place, leg, link_of(place, subnet))


def _is_hairpin(container: Container, attachment: Attachment, subnet: Subnet) -> bool:
    """As the file says, else if the container could be told to speak to itself: by its published port."""
    if attachment.hairpin is not None:
        return attachment.hairpin
    return subnet.hairpin or any(publication.subnet == subnet.name for publication in container.publications)


def has_ipv6(subnet: Subnet) -> bool:
    """Whether the subnet has a range of IPv6."""
    return any(cidr.version == 6 for cidr in subnet.cidrs)


def _dhcp(container: str, place: Place, subnet: Subnet, attachment: Attachment) -> Iterator[Record]:
    """The LAN gives the address: IPv4 by DHCP, IPv6 by the routers' advertisements, which the kernel heeds by itself."""
    netns, dev, link = container_netns(container), place.interface, link_of(place, subnet)
    if any(cidr.version == 4 for cidr in subnet.cidrs):
        yield Dhcp(netns=netns, container=container, dev=dev, default=attachment.default, link=link)


def _connect_place(place: Place, leg: Leg, own: Assigned, link: Ref, about: str) -> Iterator[Record]:
    """An address of a container; in a LAN, the LAN's gateway is its way out."""
    netns, dev = container_netns(place.container), place.interface
    yield from connect(netns, dev, own, link, about, announced=leg.is_inhabited)
    if leg.lan and own.family in place.defaults and (router := leg.lan.router(own.family)):
        yield default_route(netns, dev, own, router.address, link, about)


def _macvlan_place(view: HostView, place: Place, leg: Leg, owner: Ref) -> Iterator[Record]:
    macvlan = compile_macvlan(view, place, leg, owner)
    yield macvlan
    for own in place.addresses:
        yield from _connect_place(place, leg, own, macvlan.ref, macvlan.subject)
        near = address_ref(macvlan.netns, place.interface, own)
        yield from host_neighbors(view, place, leg, own, near, macvlan.ref)


def _engine_container(container: Container, netns: str) -> EngineContainer:
    spec, existing = container.spec, container.existing
    return EngineContainer(
        netns=netns,
        container=container.name,
        engine_name=container.engine_name,
        runtime=spec.runtime,
        spec=None if existing else spec,
        existing=existing,
    )


def _namespace_settings(netns: str, owner: Ref, *, ipv6: bool, existing: bool, advertised: bool) -> Iterator[Sysctl]:
    """IPv6 in a namespace that an engine has made: the engine switches it off or leaves it on as it likes.

    `all` also sets `default` and what is there. What somebody else's container has besides our links is not ours to change.
    """
    scope = "default" if existing else "all"
    yield Sysctl(netns=netns, key=f"net.ipv6.conf.{scope}.disable_ipv6", value="0" if ipv6 else "1", owner=owner)
    if not existing:
        yield Sysctl(netns=netns, key="net.ipv6.conf.lo.disable_ipv6", value="0", owner=owner)
    if ipv6:
        yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_dad", value="0", owner=owner)
        if not advertised:
            yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_ra", value="0", owner=owner)


def _place(place: Place, leg: Leg, link: Ref) -> Iterator[Record]:
    """The addresses of a container in a subnet of netctl's, and who is its neighbor there."""
    netns, dev, about = container_netns(place.container), place.interface, f"container {place.container}"
    for own in place.addresses:
        yield from _connect_place(place, leg, own, link, about)
        gateway = leg.gateway(own.family)
        if gateway is None:
            continue
        if own.family in place.defaults:
            yield default_route(netns, dev, own, gateway.address, link, about)
        near, far = address_ref(netns, dev, own), address_ref(HOST, leg.bridge, gateway)
        yield Neighbor(netns=netns, dev=dev, address=gateway.address, mac=leg.mac, link=link, own_address=near, about=about)
        yield Neighbor(netns=HOST, dev=leg.bridge, address=own.address, mac=place.mac, link=leg.ref, own_address=far, about=about)
