"""The kernel settings that a host's links need, as records: the rows of `kinds.settings.link_settings`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from reconciler.compile.model import Endpoint, HostSubnet
from reconciler.compile.options import chosen_settings
from reconciler.compile.view import HostView
from reconciler.kinds.settings.link_settings import If, Role, interface_key, settings_for
from reconciler.kinds.settings.sysctl import FORWARDING, Sysctl, forwarding_before, written_before
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.subject import Subject
from reconciler.topology.types import Attachment


def compile_settings(view: HostView) -> Iterator[Sysctl]:
    """Forwarding, on all interfaces: containers reach all that the host reaches, and replies return.

    An IPv6 host that forwards ignores router advertisements, and would lose its own default route when that expires. So
    before, accept_ra must be 2 on the interface where they arrive.
    """
    remember = view.host.connect.scheme != "lab"
    families, egress = forwarded_families(view), view.egress
    keeps = remember and not egress.uplink

    def of_egress(key: str, value: str) -> Sysctl:
        after = written_before(HOST, key, (), egress.uplink.name if egress.uplink else "")
        return Sysctl(netns=HOST, key=key, value=value, remember=keeps, owner=egress.bridge, after=after, about=egress.about)

    for family, whole in zip((4, 6), FORWARDING, strict=True):
        if family not in families:
            continue
        own: list[Sysctl] = []
        if egress.dev and family == 4:
            rows = settings_for(Role.UPLINK, families, frozenset({If.FORWARDS}))
            own = [of_egress(row.key(egress.dev), row.value) for row in rows]
        elif egress.dev and view.facts.accepts_ra:
            own = [of_egress(interface_key(6, egress.dev, "accept_ra"), "2")]
        yield from own
        after = written_before(HOST, whole, [each.key for each in own])
        yield Sysctl(netns=HOST, key=whole, value="1", remember=remember, after=after)


def forwarded_families(view: HostView) -> frozenset[int]:
    """The families that the host forwards. Isolated subnets alone need none, unless a policy opens them or routes join them."""
    return frozenset(
        own.family
        for host_subnet in view.host_subnets.values()
        if view.topology.policies
        or view.subnet(host_subnet).mode != "isolated"
        or any(peer.overlay == "routes" for peer in host_subnet.peers)
        for own in host_subnet.addresses
    )


def gateway_settings(view: HostView, host_subnet: HostSubnet) -> Iterator[Sysctl]:
    """The settings of a subnet's bridge."""
    families = frozenset(own.family for own in host_subnet.addresses)
    found = {If.LOCALHOST if _publishes_on_localhost(view, host_subnet) else If.NOT_LOCALHOST}
    found |= {If.HAS_IPV6} if view.has_ipv6(host_subnet.mtu) else set()
    found |= {If.ANSWERS} if any(peer.overlay == "routes" for peer in host_subnet.peers) else set()
    forwarded = forwarded_families(view)
    for row in settings_for(Role.GATEWAY, families, frozenset({*found, If.FORWARDS})):
        if row.when is not If.FORWARDS or row.family in forwarded:
            yield Sysctl(
                netns=HOST,
                key=row.key(host_subnet.bridge),
                value=row.value,
                owner=host_subnet.ref,
                after=forwarding_before(row.key(host_subnet.bridge)),
                about=Subject.subnet(host_subnet.subnet),
            )


def container_settings(endpoint: Endpoint, attachment: Attachment, link: Ref, circumstances: Collection[If]) -> Iterator[Sysctl]:
    """The settings of a container's interface, without those for which the file has chosen a value."""
    netns, dev = container_netns(endpoint.container), endpoint.interface
    families = {own.family for own in endpoint.addresses}
    if attachment.dhcp:
        families |= {4, 6} if If.ADVERTISED in circumstances else {4}
    chosen = {key for key, _ in chosen_settings(endpoint, attachment)}
    about = Subject.container(endpoint.container)
    yield from link_settings(Role.CONTAINER, netns, dev, link, about, families, circumstances, chosen)


def link_settings(
    role: Role,
    netns: str,
    dev: str,
    link: Ref,
    about: Subject,
    families: Iterable[int],
    circumstances: Iterable[If] = (),
    chosen: Collection[str] = (),
) -> Iterator[Sysctl]:
    """The settings of one link, which the record `link` creates."""
    for row in settings_for(role, frozenset(families), frozenset(circumstances)):
        if row.key(dev) not in chosen:
            yield Sysctl(netns=netns, key=row.key(dev), value=row.value, owner=link, about=about)


def _publishes_on_localhost(view: HostView, host_subnet: HostSubnet) -> bool:
    return any(
        port.listen == "" or port.listen.startswith("127.")
        for port in view.resolved.ports
        if (port.host, port.subnet, port.family) == (host_subnet.host, host_subnet.subnet, 4)
    )
