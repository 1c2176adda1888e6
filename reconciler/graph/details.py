"""What a click on a thing of the picture shows: lines of words. Pure. Values of variables and commands are not among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.compile.model import Endpoint, HostSubnet, Resolved
from reconciler.graph.model import Badge, Detail
from reconciler.topology.types import Container, Host, Policy, PortRange, Publication, Subnet, Topology

SHOWN = 24
"""The most lines of one sort in the details of a node with many replicas."""


def render_connect(host: Host) -> str:
    """The destination of a host: `lab`, `local`, `ssh edge.example.net`."""
    return " ".join(filter(None, (host.connect.scheme, host.connect.name)))


def render_ports(publication: Publication) -> str:
    """A publication: `8080 → 80/tcp`, with the address that it listens on, if the file says so."""
    address = publication.address
    listen = "" if address is None else f"[{address}]:" if address.version == 6 else f"{address}:"
    inner = f"{_range(publication.to_port, publication.count)}/{publication.protocol}"
    return f"{listen}{_range(publication.port, publication.count)} → {inner}"


def render_sources(publication: Publication) -> str:
    """The sources that it admits: `from 192.0.2.0/24`; "" for all."""
    return f"from {', '.join(map(str, publication.sources))}" if publication.sources else ""


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def render_policy_ports(ports: Sequence[PortRange]) -> str:
    """The ports of a policy: `tcp 5432, udp 53-54`; `all` without one."""
    if not ports:
        return "all"
    return ", ".join(f"{each.protocol} {_range(each.first, each.last - each.first + 1)}" for each in ports)


def host_details(topology: Topology, host: Host, badge: Badge) -> tuple[Detail, ...]:
    """Of a host."""
    return (
        Detail("host", host.name),
        Detail("connect", render_connect(host)),
        *(Detail("address", str(address)) for address in host.addresses),
        Detail("containers", str(sum(each.host == host.name for each in topology.declared))),
        *_place(topology, ("hosts", host.name)),
        *badge_details(badge),
    )


def subnet_details(topology: Topology, subnet: Subnet, present: Sequence[HostSubnet], badge: Badge) -> tuple[Detail, ...]:
    """Of a subnet."""
    members = sum(each.subnet == subnet.name for container in topology.declared for each in container.attachments)
    return (
        Detail("subnet", subnet.name),
        *(Detail("cidr", str(cidr)) for cidr in subnet.cidrs),
        Detail("mode", subnet.mode),
        Detail("containers", str(members)),
        *(Detail(f"on {each.host}", _presence(each)) for each in present),
        *_place(topology, ("subnets", subnet.name)),
        *badge_details(badge),
    )


def _presence(host_subnet: HostSubnet) -> str:
    own = ", ".join(each.cidr for each in host_subnet.addresses)
    mtu = f"MTU {host_subnet.mtu}" if host_subnet.mtu else ""
    return ", ".join(filter(None, (f"bridge {host_subnet.bridge}" if host_subnet.bridge else "", own, mtu)))


def container_details(
    topology: Topology, resolved: Resolved, containers: Sequence[Container], badge: Badge
) -> tuple[Detail, ...]:
    """Of a container, or of several that share a node."""
    first = containers[0]
    names = [each.name for each in containers]
    return (
        Detail("container" if len(names) == 1 else f"{len(names)} replicas", _some(names)),
        Detail("host", first.host),
        Detail("runtime", f"{first.spec.runtime}{', existing' if first.existing else ''}"),
        *((Detail("image", first.spec.image),) if first.spec.image else ()),
        *((Detail("network of", first.share),) if first.share else ()),
        *_endpoint_details(resolved, containers),
        *(
            Detail("port", " ".join(filter(None, (render_ports(each), f"on {', '.join(each.hosts)}", render_sources(each)))))
            for each in first.publications
        ),
        *_policies_of(topology, first),
        *_place(topology, ("containers", first.origin)),
        *badge_details(badge),
    )


def _endpoint_details(resolved: Resolved, containers: Sequence[Container]) -> Iterator[Detail]:
    found = [endpoint for container in containers for endpoint in resolved.endpoints.get(container.name, ())]
    for endpoint in found[:SHOWN]:
        whose = f"{endpoint.container} " if len(containers) > 1 else ""
        yield Detail(f"{whose}{endpoint.interface} on {endpoint.subnet}", _endpoint(endpoint))
    if len(found) > SHOWN:
        yield Detail("interfaces", f"and {len(found) - SHOWN:,} more")


def _endpoint(endpoint: Endpoint) -> str:
    own = ", ".join(each.cidr for each in endpoint.addresses) or "the address is the LAN's to give"
    default = "default route" if endpoint.defaults else ""
    return ", ".join(filter(None, (own, endpoint.mac, default)))


def _policies_of(topology: Topology, container: Container) -> Iterator[Detail]:
    subnets = {each.subnet for each in container.attachments}
    for policy in topology.policies:
        for party in (policy.source, policy.target):
            if (party.kind == "container" and party.name == container.origin) or (
                party.kind == "subnet" and party.name in subnets
            ):
                yield Detail("policy", f"{policy.subject.parties}: {render_policy_ports(policy.ports)}")
                break


def policy_details(topology: Topology, policy: Policy, number: int, badge: Badge) -> tuple[Detail, ...]:
    """Of a policy."""
    return (
        Detail("policy", policy.subject.parties),
        Detail("allows", render_policy_ports(policy.ports)),
        *_place(topology, ("policies", number)),
        *badge_details(badge),
    )


def badge_details(badge: Badge) -> Iterator[Detail]:
    """The words of a badge."""
    if badge.state:
        yield Detail("state", badge.state)
    if badge.sign:
        yield Detail("plan", badge.words)
    for text in badge.texts[:SHOWN]:
        yield Detail("", text)


def _place(topology: Topology, path: tuple[str | int, ...]) -> Iterator[Detail]:
    if topology.path:
        yield Detail("file", f"{topology.path}:{topology.position(path).line}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= SHOWN else f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN:,} more"
