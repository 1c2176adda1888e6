"""Whose an element of the firewall is, for people.

The kernel does not store it, so it follows from the links and addresses of the same snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.kinds.firewall.set_elements import PortMac, SenderAddress, SetElement
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic
from reconciler.kinds.links.marks import about
from reconciler.state.naming import parse_alias, split_replica
from reconciler.state.ref import HOST
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.subject import HOST_SUBJECT, Subject


def holders_of(snapshot: Snapshot, port_elements: Iterable[SetElement]) -> dict[str, Subject]:
    """By interface, address and prefix: `container web` or `subnet front`, as the host's links and the ports' filters say."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    holders: dict[str, Subject] = {}
    for link in host.links.values():
        alias = parse_alias(link.alias)
        if alias and alias.topology == snapshot.topology and alias.kind in ("bridge", "veth"):
            holders[link.name] = about(alias, HOST)
    for address in host.addresses:
        link_holder = holders.get(host.links[address.index].name) if address.index in host.links else None
        if link_holder:
            holders[str(ip_interface(address.cidr).network)] = link_holder
    for element in port_elements:
        if isinstance(element, PortMac):
            holders[element.mac] = holders.get(element.port, HOST_SUBJECT)
        elif isinstance(element, SenderAddress) and element.purpose == "addresses" and element.link in holders:
            holders[element.address] = holders[element.link]
    return holders


def find_holder(element: SetElement, holders: Mapping[str, Subject]) -> Subject:
    """The owner of an element: `container web`, `subnet front`, `policy from … to …`; `host` if nothing identifies it."""
    if isinstance(element, AllowedTraffic) and element.source != element.target:  # else no policy: routes join the subnet
        source, target = element.ends
        return Subject.policy(_party_of(source, holders), _party_of(target, holders))
    return holders.get(element.owner, HOST_SUBJECT)


def _party_of(block: str, holders: Mapping[str, Subject]) -> str:
    """The name of a block of addresses in a policy: a container's, that of its replicas, or the subnet's."""
    if block not in holders:
        return next((owner.name for cidr, owner in holders.items() if "/" in cidr and _is_within(block, cidr)), block)
    return split_replica(holders[block].container_name)[0] or holders[block].name


def _is_within(block: str, cidr: str) -> bool:
    """Whether a prefix contains a CIDR, a range or an address."""
    try:
        return ip_address(block.partition("-")[0].partition("/")[0]) in ip_network(cidr)
    except ValueError:  # `outside`
        return False
