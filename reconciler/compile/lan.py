"""Host subnets in a LAN: what a host's uplink offers to a subnet of mode direct or macvlan, and what prevents it.

Pure. netctl does not choose the range, the gateway and the hardware address of such a host subnet. The first two are
the LAN's, the third is that of the uplink, which the bridge replaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from reconciler.compile.bridges import type_of_link
from reconciler.compile.model import Assigned, HostSubnet, Lan
from reconciler.compile.underlay import underlay_of, uplink_mac_of, uplink_of
from reconciler.compile.view import HostView
from reconciler.state.host import HostFacts, LinkFacts
from reconciler.state.naming import interface_name
from reconciler.topology.types import Host, Path, Subnet, Topology

Refusal = tuple[Path, str, str]
"""The position in the file, the fault, and the advice."""


def lan_subnet(topology: Topology, subnet: Subnet, host: Host, facts: HostFacts) -> HostSubnet:
    """The host subnet of `host` in the LAN."""
    name = subnet.existing_bridge or subnet.uplink or uplink_of(host, facts)
    link = _find(facts, name)
    is_lab_uplink = host.connect.scheme == "lab" and name == uplink_of(host)
    mtu = link.mtu if link else facts.uplink_mtu
    lan = Lan(
        uplink=name,
        is_existing=bool(subnet.existing_bridge),
        is_taken_in=subnet.mode == "direct" and not subnet.existing_bridge,
        mtu=mtu,
        routers=tuple(_routers(subnet, host, link, is_lab_uplink=is_lab_uplink)),
        own=tuple(_own(subnet, host, facts)),
    )
    return HostSubnet(
        host.name,
        subnet.name,
        bridge=subnet.existing_bridge or interface_name("b-", topology.name, subnet.name),
        mac=uplink_mac_of(topology.name, host) if is_lab_uplink else link.mac if link else "",
        mtu=subnet.mtu if subnet.mtu is not None else mtu,
        addresses=(),
        lan=lan,
    )


def _find(facts: HostFacts, name: str) -> LinkFacts | None:
    return next((link for link in facts.links if link.name == name), None)


def _routers(subnet: Subnet, host: Host, link: LinkFacts | None, *, is_lab_uplink: bool) -> Iterator[Assigned]:
    """Of each family: the file's gateway, else the host's own next hop, if it is in the LAN (or an IPv6 link-local one)."""
    given = [str(address) for address in subnet.gateways.get(host.name) or subnet.gateways.get("", ())]
    # The lab's router is known before the lab exists.
    known = [str(ip_network(own.network)[1]) for own in underlay_of(host)] if is_lab_uplink else []
    candidates = [*given, *known, *(link.routers if link else ())]
    for cidr in subnet.cidrs:
        for each in candidates:
            if _is_on_link(each, cidr):
                yield Assigned(cidr.version, each, str(cidr))
                break


def _is_on_link(address: str, cidr: IPv4Network | IPv6Network) -> bool:
    parsed = ip_address(address)
    return parsed in cidr or (parsed.version == cidr.version == 6 and parsed.is_link_local)


def _own(subnet: Subnet, host: Host, facts: HostFacts) -> Iterator[Assigned]:
    """The host's own addresses in the LAN."""
    known = dict.fromkeys([*(str(each) for each in host.addresses), *(str(ip_interface(cidr).ip) for cidr in facts.addresses)])
    for cidr in subnet.cidrs:
        yield from (Assigned(cidr.version, each, str(cidr)) for each in known if ip_address(each) in cidr)


# --- conflicts --------------------------------------------------------------------------------------------------------


def refusals(view: HostView) -> Iterator[Refusal]:
    """The reasons why LANs of a host are impossible, one by one. A lab host that does not exist yet will have what it needs."""
    host, facts = view.host, view.facts
    for host_subnet in view.host_subnets.values():
        if host_subnet.lan is None or not facts.exists:
            continue
        subnet = view.subnet(host_subnet)
        path: Path = ("subnets", subnet.name, "bridge" if host_subnet.lan.is_existing else "uplink")
        link = _find(facts, host_subnet.lan.uplink)
        if link is None:
            yield path, *_missing(host, host_subnet.lan, facts)
        elif host_subnet.lan.is_existing:
            bridge = type_of_link(link.kind)
            fault = f"{link.name} of host {host.name} is not a bridge", "name a bridge, or write `uplink` in place of `bridge`"
            if why := bridge.refuse_existing(link.name, host.name) if bridge else fault:
                yield path, *why
        else:
            yield from ((path, *why) for why in _unfit(subnet, host, link))
        yield from _taken(view, subnet)


def _missing(host: Host, lan: Lan, facts: HostFacts) -> tuple[str, str]:
    names = ", ".join(sorted(link.name for link in facts.links)) or "none"
    if not lan.uplink:
        return f"host {host.name} has no default route, so its uplink is not known", f"name it; its interfaces are: {names}"
    return f"host {host.name} has no interface {lan.uplink}", f"its interfaces are: {names}"


def _unfit(subnet: Subnet, host: Host, link: LinkFacts) -> Iterator[tuple[str, str]]:
    if link.is_wireless:
        what = f"the uplink {link.name} of host {host.name} is wireless: an access point drops frames of containers"
        why = f"{what}, because their hardware addresses are not associated"
        other = f"write `mode: routed` for {subnet.name}, with a range of its own, and add a route to it on the LAN's router"
        arp = f"sysctl net.ipv4.conf.{link.name}.proxy_arp=1 lets the host answer for it"
        yield why, f"{other} (or that it is on the LAN: {arp})"
    if subnet.macvlan == "passthru" and link.addresses:
        what = f"mode passthru takes all of {link.name} of host {host.name}, and the host has {link.addresses[0]} on it"
        yield what, "name an `uplink` that the host does not use itself, or another `type`"
    bridge = type_of_link(link.kind)
    if bridge and (refusal := bridge.refuse_uplink(link.name, host.name, subnet.mode)):
        yield refusal
    if link.master:
        help_text = f"write `uplink: {link.master}`"
        if subnet.mode == "direct":
            help_text += f" if that is a bond, or `bridge: {{existing: {link.master}}}` if it is a Linux bridge"
        yield f"the uplink {link.name} of host {host.name} belongs to {link.master} already", help_text


def _taken(view: HostView, subnet: Subnet) -> Iterator[Refusal]:
    host, facts = view.host, view.facts
    held = {ip_interface(cidr).ip for cidr in facts.addresses}
    for container in map(view.topology.containers.__getitem__, view.containers):
        for attachment in container.attachments:
            if attachment.dhcp and attachment.subnet == subnet.name and not facts.has_dhcp_client:
                path: Path = ("containers", container.origin, "networks", subnet.name)
                yield path, f"host {host.name} has no DHCP client", "install one: apt-get install udhcpc"
            for address in attachment.addresses if attachment.subnet == subnet.name else ():
                if address in held:
                    where: Path = ("containers", container.origin, "networks", subnet.name, "address")
                    yield where, f"{address} is an address of host {host.name} itself", "choose a free address of the LAN"
