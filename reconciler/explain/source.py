"""The place in the topology file that asked for a record."""

from __future__ import annotations

from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.sets import CONCATENATION
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.links.veth import Veth
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import container_of
from reconciler.state.subject import Subject
from reconciler.topology.types import Attachment, Container, Path, Policy, Topology

MODE_SETS = ("nat_bridges", "routed_bridges", "natted")
"""Sets that say what the mode of a subnet is."""


def path_of(topology: Topology, host: str, record: Record) -> Path:
    """The path of the value in the file that a record follows from; empty if none does."""
    subject = record.subject
    name = subject.container_name or container_of(record.netns)
    if isinstance(record, FirewallElement):
        subject, name = record.about, record.about.container_name
        if issubclass(record.shape, AllowedTraffic) and subject.sort == "policy":
            return _policy(topology, record)
    if name in topology.containers:
        return _in_container(topology.containers[name], record)
    if subject.sort == "subnet" and subject.name in topology.subnets:
        return _in_subnet(subject, record)
    return ("hosts", host) if host in topology.hosts else ()


def line_of(topology: Topology, path: Path) -> int:
    """The line of a path in the file; 0 without one."""
    return topology.position(path).line if path else 0


def _in_subnet(subject: Subject, record: Record) -> Path:
    key: Path = ("subnets", subject.name)
    if isinstance(record, FirewallElement) and record.set.rstrip("46") in MODE_SETS:
        return (*key, "mode")
    return (*key, "overlay") if isinstance(record, Tunnel) else key


def _in_container(container: Container, record: Record) -> Path:
    key: Path = ("containers", container.origin)
    published = record.published if isinstance(record, FirewallElement) else None
    if published:
        for publication in container.publications:
            is_here = publication.port <= published.port < publication.port + publication.count
            if is_here and publication.protocol == published.protocol:
                return publication.path or (*key, "ports")
        return (*key, "ports")
    for attachment in container.attachments:
        if _is_on(attachment, record):
            own: Path = (*key, "networks", attachment.subnet)
            if isinstance(record, Route):
                for number, (to, via) in enumerate(attachment.routes):
                    if (str(to), str(via)) == (record.dst, record.via):
                        return (*own, "routes", number)
            return own
    return (*key, "networks", container.attachments[0].subnet) if len(container.attachments) == 1 else (*key, "networks")


def _is_on(attachment: Attachment, record: Record) -> bool:
    """Whether a record of a container belongs to one of its networks."""
    if isinstance(record, Veth):
        alias = parse_alias(record.alias)
        return alias is not None and alias.subnet == attachment.subnet
    if container_of(record.netns):
        return getattr(record, "dev", getattr(record, "name", "")) == attachment.interface
    if isinstance(record, FirewallElement):
        return any(str(own) in record.key.split(CONCATENATION) for own in attachment.addresses)
    return isinstance(record, Neighbor) and any(str(own) == record.address for own in attachment.addresses)


def _policy(topology: Topology, record: FirewallElement) -> Path:
    """The first policy between the same parties that opens what the element opens."""
    traffic = record.element
    found = [(number, policy) for number, policy in enumerate(topology.policies) if policy.subject == record.about]
    for number, policy in found:
        if isinstance(traffic, AllowedTraffic) and _opens(policy, traffic):
            return ("policies", number)
    return ("policies", found[0][0]) if found else ("policies",)


def _opens(policy: Policy, traffic: AllowedTraffic) -> bool:
    if not policy.ports or not traffic.protocol:
        return not policy.ports and not traffic.protocol
    first = int(traffic.ports.partition("-")[0])
    return any(ports.protocol == traffic.protocol and ports.first <= first <= ports.last for ports in policy.ports)
