"""Published ports as probes: from outside, from the host by its address and by localhost, from containers. Pure.

A restriction by source (`from:`) is tested both ways: a listed source is accepted, another one is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from reconciler.probes.model import PUBLISHED, Listener, PacketProbe, Probe
from reconciler.state.lab import OUTSIDE_NETNS
from reconciler.state.ref import HOST, LAB, container_netns
from reconciler.topology.types import Container, Publication
from reconciler.verify.view import OUTSIDE, View, are_parted, family_of

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Asker:
    """The source of a probe to a published port: worker, namespace, its name for users, and its address."""

    host: str
    netns: str
    name: str
    address: str


def published_probes(view: View) -> Iterator[Probe]:
    """For every publication the first port, and of a range also the last one."""
    for container in view.topology.containers.values():
        for publication in container.publications:
            for offset in sorted({0, publication.count - 1}):
                yield from _of_publication(view, container, publication, offset)


def _of_publication(view: View, container: Container, publication: Publication, offset: int) -> Iterator[Probe]:
    attachment = next((a for a in container.attachments if a.subnet == publication.subnet), None)
    families = {family_of(a) for a in view.addresses(container, attachment)} if attachment else set()
    token = f"netctl {view.topology.name} {container.name}"
    for host in publication.hosts or (container.host,):
        for address in _listening_addresses(view, host, container, publication):
            family = family_of(address)
            if family not in families:
                continue
            port, inner = publication.port + offset, publication.to_port + offset
            server = Listener(container.host, container_netns(container.name), publication.protocol, family, inner, token)
            for asker in _askers(view, host, container, publication.subnet, address):
                expected = not publication.sources or _is_named(publication, asker.address)
                why = f"{host} publishes {publication.protocol} {port}" + ("" if expected else f", and not to {asker.address}")
                yield PacketProbe(
                    host=asker.host,
                    netns=asker.netns,
                    source=asker.name,
                    target=container.name,
                    section=PUBLISHED,
                    kind=publication.protocol,
                    address=address,
                    expected=expected,
                    why=why,
                    port=port,
                    subnet=publication.subnet,
                    listener=server,
                )


def _listening_addresses(view: View, host: str, container: Container, publication: Publication) -> tuple[str, ...]:
    """The addresses to probe: the one it is bound to, else the host's own, and localhost (IPv4 only).

    No packet from localhost reaches a container behind the uplink: such packets never leave by foreign links.
    """
    listen = publication.address
    if listen is not None and not listen.is_unspecified:
        return (str(listen),)
    # A restriction by source does not cover localhost, which any user can use.
    behind_uplink = view.is_routed_to(host, container, publication.subnet)
    localhost = () if publication.sources or behind_uplink else (LOCALHOST,)
    found = (*view.host_addresses(host), *localhost)
    return tuple(address for address in found if listen is None or family_of(address) == listen.version)


def _is_named(publication: Publication, source: str) -> bool:
    return any(ip_address(source) in network for network in publication.sources)


def _askers(view: View, host: str, container: Container, subnet: str, address: str) -> Iterator[Asker]:
    yield Asker(host, HOST, f"host {host}", address)  # to an address of its own, it uses that address as the source
    if ip_address(address).is_loopback:
        return
    family = family_of(address)
    if view.is_lab(host):
        yield Asker(LAB, OUTSIDE_NETNS, "outside", OUTSIDE[family])
        for other in view.topology.hosts:
            own = [a for a in view.host_addresses(other) if family_of(a) == family]
            if other != host and view.is_lab(other) and own:
                yield Asker(other, HOST, f"host {other}", own[0])
                break  # one neighbour represents all
    for asking in _asking_containers(view, container, subnet):
        seen_as = _address_seen(view, asking, host, family)
        if seen_as:
            yield Asker(asking.host, container_netns(asking.name), asking.name, seen_as)


def _address_seen(view: View, asking: Container, host: str, family: int) -> str:
    """The address of a container as `host` sees it: that of the container's own host, if that one masquerades it.

    It does so for NATed subnets, and towards the other hosts of the subnet for all (see `leaving` in
    kinds.firewall.chains).
    """
    default, own = view.default(asking), view.source_address(asking, family)
    if default and own and asking.host != host and (view.subnet(default).mode == "nat" or host in view.hosts(default.subnet)):
        return next((each for each in view.host_addresses(asking.host) if family_of(each) == family), "")
    return own


def _asking_containers(view: View, container: Container, subnet: str) -> Iterator[Container]:
    """The container itself (hairpin), and the first other one of each subnet with access to other subnets.

    Not one whose port is isolated from the container's. Traffic that returns to its own bridge may pass there as a
    frame (br_netfilter) or as a packet, and only the packet would arrive.
    """
    target = next((each for each in container.attachments if each.subnet == subnet), None)
    seen: set[str] = set()
    for asking in (container, *(c for c in view.topology.containers.values() if c is not container)):
        default = view.default(asking)
        if default is None or view.subnet(default).mode not in ("nat", "routed"):
            continue
        if target and are_parted(asking, default, container, target):
            continue
        if asking is container or default.subnet not in seen:
            if asking is not container:
                seen.add(default.subnet)
            yield asking
