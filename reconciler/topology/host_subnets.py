"""Host subnets: on which hosts each subnet is present, so that the host has a bridge and an address of its own in it.

A subnet is present on a host if one of the host's containers is in it, or the subnet's `hosts:` names the host. It is also
present if the host publishes a port for a container there, or if a policy lets the host's containers reach it.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.topology.types import Container, Party, Topology


def host_subnets_of(topology: Topology) -> Mapping[str, tuple[str, ...]]:
    """For each subnet the hosts on which it is present, in the order in which the file lists the hosts."""
    present: dict[str, set[str]] = {name: set(subnet.hosts) for name, subnet in topology.subnets.items()}
    for container in topology.declared:
        for attachment in container.attachments:
            present[attachment.subnet].add(container.host)
        for publication in container.publications:
            present[publication.subnet].update(publication.hosts)
    subnets_of, hosts_of = _indexes(topology)
    for policy in topology.policies:
        reached = subnets_of.get(policy.target, ())
        for subnet in reached:
            present[subnet].update(hosts_of.get(policy.source, ()))
    order = {host: number for number, host in enumerate(topology.hosts)}
    return {name: tuple(sorted(hosts, key=order.__getitem__)) for name, hosts in present.items()}


def hosts_beside(topology: Topology, host: str) -> frozenset[str]:
    """The other hosts that the desired state of this one depends on: those that share a subnet with it.

    In a shared subnet, live addresses and gateways stay, and the MTU is that of the narrowest uplink. Each host has
    entries for the other host's containers. Other subnets do not matter: a subnet that the host's containers may reach
    is present on it.
    """
    shared = (hosts for hosts in host_subnets_of(topology).values() if host in hosts)
    return frozenset(name for hosts in shared for name in hosts) - {host}


def _indexes(topology: Topology) -> tuple[dict[Party, set[str]], dict[Party, set[str]]]:
    """For each container (by its name in the file) and each subnet, as a party: its subnets, and the hosts of its containers."""
    subnets_of: dict[Party, set[str]] = {Party("subnet", name): {name} for name in topology.subnets}
    hosts_of: dict[Party, set[str]] = {}
    for container in topology.declared:
        for party in _parties(container):
            hosts_of.setdefault(party, set()).add(container.host)
        subnets_of.setdefault(Party("container", container.origin), set()).update(a.subnet for a in container.attachments)
    return subnets_of, hosts_of


def _parties(container: Container) -> tuple[Party, ...]:
    return (Party("container", container.origin), *(Party("subnet", a.subnet) for a in container.attachments))
