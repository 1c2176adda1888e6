"""The options of a container's network in its long form, besides addresses: rate limits, static routes, kernel settings.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Endpoint
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.subject import Subject
from reconciler.topology.types import Attachment, Subnet

PLACEHOLDER = "IFNAME"


def link_of(endpoint: Endpoint, subnet: Subnet) -> Ref:
    """The record that creates a container's interface."""
    if subnet.mode == "macvlan":
        return Macvlan.ref_of(container_netns(endpoint.container), endpoint.interface, subnet.macvlan)
    return Veth.ref_of(HOST, endpoint.port)


def compile_options(endpoint: Endpoint, subnet: Subnet, attachment: Attachment) -> Iterator[Record]:
    """The records of one endpoint's options."""
    netns, dev, link = container_netns(endpoint.container), endpoint.interface, link_of(endpoint, subnet)
    about = Subject.container(endpoint.container)
    ingress, egress = attachment.rates
    if ingress:
        yield Qdisc(netns=HOST, dev=endpoint.port, link=link, about=about, rate_bytes=ingress)
    if egress:
        yield Qdisc(netns=netns, dev=dev, link=link, about=about, rate_bytes=egress)
    for to, via in attachment.routes:
        own = next((own for own in endpoint.addresses if own.family == to.version), None)
        near = Address.ref_of(netns, dev, own.cidr) if own and own.family == 4 else None
        network = next((cidr for cidr in subnet.cidrs if via in cidr), None)
        connected = Route.ref_of(netns, to.version, str(network), dev) if network else None
        yield Route(
            netns=netns,
            family=to.version,
            dst=str(to),
            dev=dev,
            link=link,
            via=str(via),
            address=near,
            connected=connected,
            about=about,
        )
    for key, value in chosen_settings(endpoint, attachment):
        yield Sysctl(netns=netns, key=key, value=value, owner=link, about=about)


def chosen_settings(endpoint: Endpoint, attachment: Attachment) -> Iterator[tuple[str, str]]:
    """The settings of a container's interface in the file, by their keys."""
    for key, value in attachment.sysctls:
        yield key.replace(PLACEHOLDER, endpoint.interface.replace(".", "/")), value
