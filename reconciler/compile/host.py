"""The records of one host: its host subnets, its containers and their connections, and the settings that these need.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.compile.bridges import bridge_of
from reconciler.compile.bridges.base import ContainerPort
from reconciler.compile.fast_path import compile_fast_path
from reconciler.compile.firewall import compile_firewall
from reconciler.compile.hosts_file import compile_hosts_file
from reconciler.compile.macvlan import compile_macvlan, compile_shim, host_neighbors
from reconciler.compile.model import Assigned, Endpoint, HostSubnet, Lan
from reconciler.compile.names import compile_names, compile_resolv_conf
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
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.netns import Netns
from reconciler.kinds.process import Process
from reconciler.kinds.settings.link_settings import If, Role
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.container_spec import HELD, HOLDER, OWN, HolderSpec
from reconciler.state.engines import ENGINES
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.subject import Subject
from reconciler.topology.types import Attachment, Container, Subnet


def compile_host(view: HostView) -> Iterator[Record]:
    """All records of the topology on the host; none if it has no host subnet and no container there."""
    if view.host_subnets:
        yield from compile_settings(view)
        for host_subnet in view.host_subnets.values():
            yield from _host_subnet(view, host_subnet)
            yield from compile_overlay(view, host_subnet)
        yield from compile_detours(view)
        yield from compile_firewall(view)
        yield from compile_names(view)
        if view.facts.fast_path:
            yield from compile_fast_path(view)
        yield from (DockerUser(HOST, command, view.topology.name) for command in view.facts.docker_user_chain)
    for name in view.containers:
        yield from _container(view, view.topology.containers[name])


# --- host subnets -------------------------------------------------------------------------------------------------------------


def _host_subnet(view: HostView, host_subnet: HostSubnet) -> Iterator[Record]:
    if host_subnet.lan:
        if host_subnet.lan.is_taken_in:
            yield from _direct_host_subnet(view, host_subnet, host_subnet.lan)
        if view.subnet(host_subnet).mode == "macvlan":
            yield from compile_shim(view, host_subnet, host_subnet.lan)
        return
    yield from bridge_of(view, host_subnet).make()
    yield from gateway_settings(view, host_subnet)
    for own in host_subnet.addresses:
        yield from connect(
            HOST, host_subnet.bridge, own, host_subnet.ref, Subject.subnet(host_subnet.subnet), announced=host_subnet.is_inhabited
        )


def _direct_host_subnet(view: HostView, host_subnet: HostSubnet, lan: Lan) -> Iterator[Record]:
    """A bridge that replaces the uplink: it has its hardware address, its MTU, and its addresses."""
    yield from link_settings(Role.LAN_BRIDGE, HOST, host_subnet.bridge, host_subnet.ref, Subject.subnet(host_subnet.subnet), (4,))
    bridge = bridge_of(view, host_subnet)
    yield from bridge.make()
    yield from bridge.uplink(lan.uplink)


def connect(
    netns: str, dev: str, own: Assigned, link: Ref, about: Subject, *, announced: bool = False
) -> Iterator[Address | Route]:
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


def default_route(netns: str, dev: str, own: Assigned, via: str, link: Ref, about: Subject) -> Route:
    """The default route of a family via the neighbor `via`."""
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
    """The address whose loss ends IPv4 on an interface; None for IPv6."""
    return Address.ref_of(netns, dev, own.cidr) if own.family == 4 else None


# --- containers -------------------------------------------------------------------------------------------------------


def _container(view: HostView, container: Container) -> Iterator[Record]:
    if container.existing and not container.attachments:
        return  # there is nothing to connect, and nothing else of it is netctl's
    netns = container_netns(container.name)
    if container.share and container.spec.runtime != "netns":
        yield _sharer(view, container)
        return
    if container.share:
        yield _command(view, container, netns)
        return
    endpoints = view.resolved.endpoints[container.name]
    ipv6 = any(own.family == 6 for endpoint in endpoints for own in endpoint.addresses)
    advertised = any(each.dhcp and has_ipv6(view.topology.subnets[each.subnet]) for each in container.attachments)
    ipv6 = ipv6 or advertised
    owner = _owner(container, netns, ipv6=ipv6, advertised=advertised)
    yield owner
    yield from _programs(view, container, netns)
    yield from compile_resolv_conf(view, container)
    if not isinstance(owner, Netns):
        yield from _namespace_settings(netns, owner.ref, ipv6=ipv6, existing=container.existing, advertised=advertised)
    if advertised:
        # A new link solicits routers when it comes up, if it accepts advertisements by then.
        yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_ra", value="2", owner=owner.ref)
    yield from compile_policy_routes(view, container)
    several = len(endpoints) > 1 or container.existing
    for endpoint, attachment in zip(endpoints, container.attachments, strict=True):
        subnet = view.subnet(endpoint)
        host_subnet = view.host_subnets[endpoint.subnet]
        # Only the container's end: a bridge would adopt a smaller MTU of its port.
        mtu = min(host_subnet.mtu, attachment.mtu or host_subnet.mtu)
        yield from compile_options(endpoint, subnet, attachment)
        forwards = any(each.router == endpoint for each in view.resolved.forwards)
        advertised_here = attachment.dhcp and has_ipv6(subnet)
        holds = {
            If.SEVERAL: several,
            If.ROUTER: forwards,
            If.ADVERTISED: advertised_here,
            # Also without an IPv6 address here: the link has had one, or the defaults of a namespace without IPv6.
            If.NOT_ADVERTISED: ipv6 and not advertised_here and view.has_ipv6(mtu),
        }
        circumstances = {each for each, is_so in holds.items() if is_so}
        yield from container_settings(endpoint, attachment, link_of(endpoint, subnet), circumstances)
        if attachment.dhcp:
            yield from _dhcp(container.name, endpoint, subnet, attachment)
        if subnet.mode == "macvlan":
            yield from _macvlan_endpoint(view, endpoint, replace(host_subnet, mtu=mtu), owner.ref)
            continue
        hairpin = _is_hairpin(container, attachment, subnet)
        yield from bridge_of(view, host_subnet).port(ContainerPort(endpoint, attachment, owner.ref, mtu, hairpin))
        yield from _endpoint_records(endpoint, host_subnet, link_of(endpoint, subnet))


def _owner(container: Container, netns: str, *, ipv6: bool, advertised: bool) -> Netns | NetnsHolder | EngineContainer:
    """What its namespace exists as long as."""
    if container.existing:
        return _engine_container(container, netns, OWN)
    runtime = container.spec.runtime
    if runtime == "netns" or ENGINES[runtime].joins_path:
        return Netns(netns, ipv6, accepts_router_advertisements=advertised)
    return _holder(container, netns)


def _programs(view: HostView, container: Container, netns: str) -> Iterator[Record]:
    """What runs in the namespace, if netctl starts it, and its hosts file."""
    if container.existing:
        return
    if container.spec.runtime != "netns":
        yield compile_hosts_file(view, container)
        yield _engine_container(container, netns, HELD)
    elif container.spec.command:
        yield _command(view, container, netns)


def _command(view: HostView, container: Container, netns: str) -> Process:
    spec = container.spec
    network = view.topology.containers[container.share or container.name]
    return Process(
        netns=netns,
        container=container.name,
        command=spec.command,
        env=spec.env,
        share=container.share,
        has_resolv_conf=any(compile_resolv_conf(view, network)),
    )


def _is_hairpin(container: Container, attachment: Attachment, subnet: Subnet) -> bool:
    """The value in the file; else whether the container could connect to itself, by its published port."""
    if attachment.hairpin is not None:
        return attachment.hairpin
    return subnet.hairpin or any(publication.subnet == subnet.name for publication in container.publications)


def has_ipv6(subnet: Subnet) -> bool:
    """Whether the subnet has an IPv6 prefix."""
    return any(cidr.version == 6 for cidr in subnet.cidrs)


def _dhcp(container: str, endpoint: Endpoint, subnet: Subnet, attachment: Attachment) -> Iterator[Record]:
    """The LAN gives the address: IPv4 by DHCP, IPv6 by router advertisements, which the kernel applies by itself."""
    netns, dev, link = container_netns(container), endpoint.interface, link_of(endpoint, subnet)
    if any(cidr.version == 4 for cidr in subnet.cidrs):
        yield Dhcp(netns=netns, container=container, dev=dev, default=attachment.default, link=link)


def _connect_endpoint(endpoint: Endpoint, host_subnet: HostSubnet, own: Assigned, link: Ref, about: Subject) -> Iterator[Record]:
    """An address of a container; in a LAN, the LAN's gateway is its next hop."""
    netns, dev = container_netns(endpoint.container), endpoint.interface
    yield from connect(netns, dev, own, link, about, announced=host_subnet.is_inhabited)
    if host_subnet.lan and own.family in endpoint.defaults and (router := host_subnet.lan.router(own.family)):
        yield default_route(netns, dev, own, router.address, link, about)


def _macvlan_endpoint(view: HostView, endpoint: Endpoint, host_subnet: HostSubnet, owner: Ref) -> Iterator[Record]:
    macvlan = compile_macvlan(view, endpoint, host_subnet, owner)
    yield macvlan
    for own in endpoint.addresses:
        yield from _connect_endpoint(endpoint, host_subnet, own, macvlan.ref, macvlan.subject)
        near = address_ref(macvlan.netns, endpoint.interface, own)
        yield from host_neighbors(view, endpoint, host_subnet, own, near, macvlan.ref)


def _holder(container: Container, netns: str) -> NetnsHolder:
    return NetnsHolder(
        netns=netns,
        container=container.name,
        engine_name=container.engine_name + HOLDER,
        runtime=container.spec.runtime,
        shares=HolderSpec(hostname=container.spec.hostname or container.name),
    )


def _sharer(view: HostView, container: Container) -> EngineContainer:
    """A container in the network of another one: it has that one's host name, as the hosts file of both says."""
    other = view.topology.containers[container.share]
    spec = replace(container.spec, hostname=other.spec.hostname or other.name)
    joined = _engine_container(replace(container, spec=spec), container_netns(container.name), HELD)
    return replace(joined, share=container.share)


def _engine_container(container: Container, netns: str, network: str) -> EngineContainer:
    existing = container.existing
    joins_path = ENGINES[container.spec.runtime].joins_path
    spec = replace(container.spec, hostname=(container.spec.hostname or container.name) if joins_path else "")
    return EngineContainer(
        netns=netns,
        container=container.name,
        engine_name=container.engine_name,
        runtime=spec.runtime,
        spec=None if existing else spec,
        existing=existing,
        network=network,
    )


def _namespace_settings(netns: str, owner: Ref, *, ipv6: bool, existing: bool, advertised: bool) -> Iterator[Sysctl]:
    """IPv6 settings of a namespace that an engine created: the engine may have it on or off.

    `all` also sets `default` and every existing link. In an existing container, netctl changes only its own links.
    """
    scope = "default" if existing else "all"
    yield Sysctl(netns=netns, key=f"net.ipv6.conf.{scope}.disable_ipv6", value="0" if ipv6 else "1", owner=owner)
    if not existing:
        yield Sysctl(netns=netns, key="net.ipv6.conf.lo.disable_ipv6", value="0", owner=owner)
    if ipv6:
        yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_dad", value="0", owner=owner)
        if not advertised:
            yield Sysctl(netns=netns, key="net.ipv6.conf.default.accept_ra", value="0", owner=owner)


def _endpoint_records(endpoint: Endpoint, host_subnet: HostSubnet, link: Ref) -> Iterator[Record]:
    """The addresses of a container in a subnet of netctl's, and its neighbor entries there."""
    netns, dev, about = container_netns(endpoint.container), endpoint.interface, Subject.container(endpoint.container)
    for own in endpoint.addresses:
        yield from _connect_endpoint(endpoint, host_subnet, own, link, about)
        gateway = host_subnet.gateway(own.family)
        if gateway is None:
            continue
        if own.family in endpoint.defaults:
            yield default_route(netns, dev, own, gateway.address, link, about)
        near, far = address_ref(netns, dev, own), address_ref(HOST, host_subnet.bridge, gateway)
        yield Neighbor(
            netns=netns, dev=dev, address=gateway.address, mac=host_subnet.mac, link=link, own_address=near, about=about
        )
        yield Neighbor(
            netns=HOST,
            dev=host_subnet.bridge,
            address=own.address,
            mac=endpoint.mac,
            link=host_subnet.ref,
            own_address=far,
            about=about,
        )
