"""Whose an element of the firewall is, for people.

The kernel does not store it, so it follows from the links and addresses of the same snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.kinds.firewall.name_elements import ResolverAddress
from reconciler.kinds.firewall.set_elements import BlockElement, ConnectionLimit, PortMac, SenderAddress, SetElement
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic
from reconciler.kinds.holders import Holders, holders_of
from reconciler.state.naming import split_replica
from reconciler.state.ref import container_of
from reconciler.state.snapshot import Snapshot
from reconciler.state.subject import HOST_SUBJECT, Subject


def holders_among(snapshot: Snapshot, port_elements: Iterable[SetElement]) -> Holders:
    """The holders of the host, and those of addresses as the filters of ports say, or else the containers' interfaces.

    The filters come first: root of a container can set any address on its interface. Open vSwitch has no such filters.
    """
    holders = holders_of(snapshot)
    names = holders.names
    for element in port_elements:
        if isinstance(element, PortMac) and element.port in names:
            names[element.mac] = names[element.port]
        elif isinstance(element, SenderAddress) and element.purpose == "addresses" and element.link in names:
            names[element.address] = names[element.link]
    for netns, namespace in snapshot.namespaces.items():
        if container := container_of(netns):
            subject = Subject.container(container)
            for address in namespace.addresses:
                names.setdefault(address.cidr.partition("/")[0], subject)
            for link in namespace.links.values():
                names.setdefault(link.mac, subject)
    return holders


def find_holder(element: SetElement, holders: Holders, default: Subject = HOST_SUBJECT) -> Subject:
    """The owner of an element: `container web`, `subnet front`, `policy from … to …`; `default` if nothing identifies it."""
    match element:
        case AllowedTraffic() if element.source != element.target:  # else no policy: routes join the subnet
            source, target = element.ends
            return Subject.policy(_party_of(source, holders), _party_of(target, holders))
        case BlockElement(purpose="gateways"):
            return holders.around(element.block) or default
        case ResolverAddress():
            return holders.around(element.address) or default
        case SenderAddress(purpose="neighbours"):
            return holders.around(element.address) or default
        case ConnectionLimit():
            return holders.names.get(element.mac) or holders.names.get(element.bridge, default)
        case _:
            return holders.names.get(element.owner, default)


def _party_of(block: str, holders: Holders) -> str:
    """The name of a block of addresses in a policy: a container's, that of its replicas, or the subnet's."""
    holder = holders.names.get(block) or holders.around(block)
    if holder is None:
        return block
    return split_replica(holder.container_name)[0] or holder.name
