"""What the long form of a container's network asks for beyond an address: rate limits, static routes, kernel settings.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import Place
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.topology.types import Attachment, Subnet

PLACEHOLDER = "IFNAME"


def link_of(place: Place, subnet: Subnet) -> Ref:
    """What makes a container's interface."""
    if subnet.mode == "macvlan":
        return Macvlan.ref_of(container_netns(place.container), place.interface, subnet.macvlan)
    return Veth.ref_of(HOST, place.port)


def compile_options(place: Place, subnet: Subnet, attachment: Attachment) -> Iterator[Record]:
    """The records of one place's options."""
    netns, dev, link = container_netns(place.container), place.interface, link_of(place, subnet)
    about = f"container {place.container}"
    ingress, egress = attachment.rates
    if ingress:
        yield Qdisc(netns=HOST, dev=place.port, link=link, about=about, rate_bytes=ingress)
    if egress:
        yield Qdisc(netns=netns, dev=dev, link=link, about=about, rate_bytes=egress)
    for to, via in attachment.routes:
        own = next((own for own in place.addresses if own.family == to.version), None)
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
    for key, value in attachment.sysctls:
        yield Sysctl(netns=netns, key=key.replace(PLACEHOLDER, dev.replace(".", "/")), value=value, owner=link, about=about)
