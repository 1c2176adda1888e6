"""Attacks with forged frames that must fail: from a neighbour, a foreign link, and every container. Pure.

The number of probes grows with the containers, not with their pairs. Of one subnet on one host, each container (at most
SENDERS of them) sends frames that its own port must filter. The next container in the file listens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.probes.frames import ADVERTISED, DETOUR, GROUP, STRAY
from reconciler.probes.model import FORBIDDEN, FramedPacketProbe, FrameProbe, Listener, PacketProbe, Probe, SegmentKind
from reconciler.probes.spoofing import ALL_NODES
from reconciler.state.naming import mac_of
from reconciler.state.ref import HOST, container_netns
from reconciler.topology.types import Attachment, Container, Publication, Subnet
from reconciler.verify.publications import LOCALHOST
from reconciler.verify.vantage import Vantage, foreign_link_of, neighbour_of
from reconciler.verify.view import View, are_parted, family_of, origin_of, token_of

UNKNOWN_SOURCE = "198.51.100.77"
"""The source of a datagram with a foreign source address (TEST-NET-2, RFC 5737)."""
ECHO = 7
BROADCAST = "ff:ff:ff:ff:ff:ff"
SENDERS = 32
"""The most sending containers of a subnet on one host."""


def intrusion_probes(view: View, notes: list[str]) -> Iterator[Probe]:
    """All of them; and a note for each host without a neighbour to send from."""
    for host in view.topology.hosts:
        ports = tuple(_localhost_ports(view, host))
        neighbour = neighbour_of(view, host)
        if ports and neighbour is None:
            notes.append(
                f"no other host of the file is a neighbour of {host}: its ports on localhost are not probed from its LAN"
            )
        outsiders = (*((neighbour,) if neighbour else ()), foreign_link_of(view, host))
        for port in ports:
            for vantage in (*outsiders, *_container_vantages(view, host)):
                yield port.probe(vantage)
        yield from _past_guard(view, host)
        yield from _misdirected(view, host)
    for subnet in view.topology.subnets.values():
        if subnet.mode != "macvlan":  # its frames are on the LAN without a bridge of the host's
            for host in view.hosts(subnet.name):
                yield from _in_subnet(view, subnet, host)


# --- localhost --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _LocalPort:
    """A port that is published on the localhost of a host, and the server that would answer if it is open elsewhere."""

    host: str
    protocol: SegmentKind
    address: str
    port: int
    server: Listener

    def probe(self, vantage: Vantage) -> Probe:
        """Sent from a position outside of the host."""
        why = f"localhost serves processes of {self.host} only"
        return FramedPacketProbe(
            **vantage.origin, target=f"host {self.host}", section=FORBIDDEN, kind=self.protocol, address=self.address,
            expected=False, why=why, port=self.port, listener=self.server, interface=vantage.interface, claim=vantage.own[0],
            mac=vantage.mac, via=next(each for each in vantage.host_addresses if family_of(each) == 4),
        )  # fmt: skip


def _localhost_ports(view: View, host: str) -> Iterator[_LocalPort]:
    """All that are bound to localhost; of those on every address, which includes localhost, the first of each protocol."""
    seen: set[str] = set()
    for container in view.topology.containers.values():
        for publication in container.publications:
            listen = publication.address
            everywhere = listen is None or listen.is_unspecified
            is_here = host in (publication.hosts or (container.host,))
            is_ipv4 = (listen is None or listen.version == 4) and _has_ipv4(view, container, publication)
            if publication.protocol == "sctp" or not is_here or not is_ipv4:
                continue
            if everywhere and (publication.sources or publication.protocol in seen):
                continue
            if everywhere:
                seen.add(publication.protocol)
            if everywhere or (listen and listen.is_loopback):
                address = LOCALHOST if everywhere else str(listen)
                inside = (container.host, container_netns(container.name))
                server = Listener(*inside, publication.protocol, 4, publication.to_port, token_of(view, container))
                yield _LocalPort(host, publication.protocol, address, publication.port, server)


def _has_ipv4(view: View, container: Container, publication: Publication) -> bool:
    attachment = next((each for each in container.attachments if each.subnet == publication.subnet), None)
    return bool(attachment and _address_of(view, container, attachment, 4))


def _address_of(view: View, container: Container, attachment: Attachment, family: int) -> str:
    return next((each for each in view.addresses(container, attachment) if family_of(each) == family), "")


def _container_vantages(view: View, host: str) -> Iterator[Vantage]:
    """The first container of each subnet on the host, which sends to the bridge: one rule covers all ports of a bridge."""
    for subnet in view.topology.subnets.values():
        for container, attachment in () if subnet.is_lan else _here(view, subnet, host)[:1]:
            own, mac = _address_of(view, container, attachment, 4), view.bridge_mac(host, subnet.name)
            if own and mac:
                netns = container_netns(container.name)
                yield Vantage(host, netns, container.name, attachment.interface, (own,), mac, view.gateways(host, subnet))


def _here(view: View, subnet: Subnet, host: str) -> Sequence[tuple[Container, Attachment]]:
    return [(container, attachment) for container, attachment in view.members(subnet.name) if container.host == host]


def _past_guard(view: View, host: str) -> Iterator[Probe]:
    """A foreign link has no route into a subnet that is not routed. One container of each subnet represents all."""
    vantage = foreign_link_of(view, host)
    for subnet in view.topology.subnets.values():
        if subnet.mode not in ("nat", "isolated"):
            continue
        for container, attachment in _here(view, subnet, host)[:1]:
            for address in view.addresses(container, attachment):
                near = next(each for each in vantage.host_addresses if family_of(each) == family_of(address))
                why = f"{subnet.name} is {subnet.mode}, and only its own bridge leads into it"
                yield PacketProbe(
                    **vantage.origin, target=container.name, section=FORBIDDEN, kind="icmp", address=address,
                    expected=False, why=why, via=near, subnet=subnet.name,
                )  # fmt: skip


def _misdirected(view: View, host: str) -> Iterator[Probe]:
    """In a subnet that spans hosts by routes, a frame that is not for the host is never forwarded to another one."""
    for subnet in view.topology.subnets.values():
        for container, attachment in _here(view, subnet, host)[:1]:
            away = (member for member in view.members(subnet.name) if view.is_routed_to(host, member[0], subnet.name))
            other = next(away, None)
            for address in view.shared(container, attachment, *other) if other else ():
                yield from _misdirected_to(view, subnet, (container, attachment), other[0] if other else container, address)


def _misdirected_to(
    view: View, subnet: Subnet, one: tuple[Container, Attachment], other: Container, address: str
) -> Iterator[Probe]:
    container, attachment = one
    server = Listener(other.host, container_netns(other.name), "udp", family_of(address), ECHO, token_of(view, other))
    for mac, words in ((mac_of(view.topology.name, "no one"), "has another hardware address"), (BROADCAST, "is a broadcast")):
        yield FramedPacketProbe(
            **origin_of(container), target=other.name, section=FORBIDDEN, kind="udp", address=address, expected=False,
            why=f"the frame {words}, and is not for the gateway", port=ECHO, subnet=subnet.name, listener=server,
            interface=attachment.interface, claim=_address_of(view, container, attachment, family_of(address)), mac=mac,
        )  # fmt: skip


# --- from a container's port ------------------------------------------------------------------------------------------


def _in_subnet(view: View, subnet: Subnet, host: str) -> Iterator[Probe]:
    everyone = _here(view, subnet, host)
    members = everyone[:: -(-len(everyone) // SENDERS)] if everyone else ()
    for index, one in enumerate(members):
        yield from _past_the_bridge(view, subnet, host, *one)
        if len(members) > 1 and not subnet.is_lan:
            yield from _to_the_next(view, subnet, one, members[(index + 1) % len(members)])
    parted = [member for member in members if member[1].isolated]
    for index, one in enumerate(parted if len(parted) > 1 else ()):
        yield from _by_gateway(view, subnet, one, parted[(index + 1) % len(parted)])


def _past_the_bridge(view: View, subnet: Subnet, host: str, container: Container, attachment: Attachment) -> Iterator[Probe]:
    """Frames that the kernel would give to the host as if they came from the port itself."""
    origin = origin_of(container)
    own = next((a for a in (*view.host_addresses(host), *view.gateways(host, subnet)) if family_of(a) == 4), "")
    if own:
        why = "a frame to a link-local group ends at the port"
        yield FrameProbe(
            **origin, target=f"host {host}", section=FORBIDDEN, kind=GROUP, address=own, expected=False, why=why,
            subnet=subnet.name, interface=attachment.interface, claim=UNKNOWN_SOURCE, heard_in=HOST,
        )  # fmt: skip
    if not subnet.is_lan and "router-advertisements" not in attachment.allow:
        yield _advertisement(container, f"host {host}", attachment, HOST)


def _advertisement(container: Container, target: str, attachment: Attachment, heard_in: str) -> Probe:
    return FrameProbe(
        **origin_of(container), target=target, section=FORBIDDEN, kind=ADVERTISED, address=ALL_NODES, expected=False,
        why=f"{container.name} is not a router", subnet=attachment.subnet, interface=attachment.interface, heard_in=heard_in,
    )  # fmt: skip


def _to_the_next(
    view: View, subnet: Subnet, one: tuple[Container, Attachment], two: tuple[Container, Attachment]
) -> Iterator[Probe]:
    """Frames that another port of the bridge must not receive."""
    (sender, attachment), (other, listening) = one, two
    netns = container_netns(other.name)
    own = next(iter(view.addresses(sender, attachment)), "")
    gateway = next((each for each in view.gateways(sender.host, subnet) if own and family_of(each) == family_of(own)), "")
    if gateway:
        why = f"{other.name} does not have that hardware address"
        yield FrameProbe(
            **origin_of(sender), target=other.name, section=FORBIDDEN, kind=STRAY, address=gateway, expected=False, why=why,
            subnet=subnet.name, interface=attachment.interface, claim=own, heard_in=netns, heard_at=listening.interface,
        )  # fmt: skip
    if _address_of(view, other, listening, 6) and "router-advertisements" not in attachment.allow:
        yield _advertisement(sender, other.name, attachment, netns)


def _by_gateway(
    view: View, subnet: Subnet, one: tuple[Container, Attachment], two: tuple[Container, Attachment]
) -> Iterator[Probe]:
    """An isolated port to the next one, by each family that both have."""
    (sender, attachment), (other, listening) = one, two
    mac = view.bridge_mac(sender.host, subnet.name)
    if subnet.is_lan or not mac or not are_parted(sender, attachment, other, listening):
        return
    for address in view.shared(sender, attachment, other, listening):
        yield FrameProbe(
            **origin_of(sender), target=other.name, section=FORBIDDEN, kind=DETOUR, address=address, expected=False,
            why="both of their ports are isolated", subnet=subnet.name, interface=attachment.interface,
            claim=_address_of(view, sender, attachment, family_of(address)), mac=mac, heard_in=container_netns(other.name),
        )  # fmt: skip
