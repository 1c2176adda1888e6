"""The records of endpoints in a LAN by macvlan, and of the host's own macvlan there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Assigned, Endpoint, HostSubnet, Lan
from reconciler.compile.settings import link_settings
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.settings.link_settings import If, Role
from reconciler.state.naming import Alias, group_of, interface_name, mac_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.subject import Subject
from reconciler.state.uapi import HOST_LENGTH


def shim_name(topology: str, subnet: str) -> str:
    """The host's own macvlan in a LAN."""
    return interface_name("m-", topology, subnet)


def shim_mac(topology: str, host: str, subnet: str) -> str:
    """Its hardware address."""
    return mac_of(topology, "macvlan", host, subnet)


def compile_shim(view: HostView, host_subnet: HostSubnet, lan: Lan) -> Iterator[Record]:
    """The host's own macvlan, and the route over it to each of its containers; only mode bridge lets it reach them."""
    topology = view.topology.name
    if view.subnet(host_subnet).macvlan != "bridge":
        return
    name = shim_name(topology, host_subnet.subnet)
    alias = Alias(topology, "shim", host_subnet.subnet)
    shim = Macvlan(
        netns=HOST,
        name=name,
        lower=lan.uplink,
        mode="bridge",
        mac=shim_mac(topology, host_subnet.host, host_subnet.subnet),
        mtu=host_subnet.mtu,
        group=group_of(topology),
        alias=str(alias),
    )
    yield shim
    endpoints = view.endpoints(host_subnet.subnet)
    reached = {own.family for endpoint in endpoints for own in endpoint.addresses}
    found = {If.REACHES_IPV6} if 6 in reached else set[If]()
    families = (4, 6) if view.has_ipv6(host_subnet.mtu) else (4,)
    yield from link_settings(Role.SHIM, HOST, name, shim.ref, shim.subject, families, found)
    for endpoint in endpoints:
        for own in endpoint.addresses:
            yield Route(
                netns=HOST,
                family=own.family,
                dst=f"{own.address}/{HOST_LENGTH[own.family]}",
                dev=name,
                link=shim.ref,
                src=next((one.address for one in lan.own if one.family == own.family), ""),
                about=shim.subject,
            )
            yield Neighbor(netns=HOST, dev=name, address=own.address, mac=endpoint.mac, link=shim.ref, about=shim.subject)


def compile_macvlan(view: HostView, endpoint: Endpoint, host_subnet: HostSubnet, owner: Ref) -> Macvlan:
    """A container's interface."""
    topology, subnet = view.topology.name, view.subnet(endpoint)
    alias = Alias(topology, Macvlan.kind, endpoint.container, endpoint.subnet)
    uplink = host_subnet.lan.uplink if host_subnet.lan else ""
    netns = container_netns(endpoint.container)
    # A lease has the LAN's families. Without a link-local address the kernel solicits no router
    # (addrconf_dad_completed).
    families = {own.family for own in endpoint.addresses} or {cidr.version for cidr in subnet.cidrs}
    return Macvlan(
        netns=netns,
        name=endpoint.interface,
        lower=uplink,
        mode=subnet.macvlan,
        mac=host_subnet.mac if subnet.macvlan == "passthru" else endpoint.mac,
        mtu=host_subnet.mtu,
        group=group_of(topology),
        alias=str(alias),
        link_local=6 in families,
        owner=owner,
    )


def host_neighbors(
    view: HostView, endpoint: Endpoint, host_subnet: HostSubnet, own: Assigned, near: Ref | None, link: Ref
) -> Iterator[Neighbor]:
    """Neighbor entries of the host, which is behind its own macvlan; that does not answer requests for the host."""
    if view.subnet(endpoint).macvlan != "bridge" or host_subnet.lan is None:
        return
    mac = shim_mac(view.topology.name, host_subnet.host, host_subnet.subnet)
    for address in host_subnet.lan.own:
        if address.family == own.family:
            about = Subject.container(endpoint.container)
            yield Neighbor(
                netns=container_netns(endpoint.container),
                dev=endpoint.interface,
                address=address.address,
                mac=mac,
                link=link,
                own_address=near,
                about=about,
            )
