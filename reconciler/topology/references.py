"""Whether the names in a file lead somewhere: what the hosts and subnets of the topology are follows from them."""

from __future__ import annotations

from reconciler.topology.expand import default_network_of, host_of
from reconciler.topology.model.file import TopologyModel


def is_settled(model: TopologyModel) -> bool:
    """Whether every host and every network that the file names exists, so that the topology can be expanded."""
    return all(
        host_of(model, container) in model.hosts
        and model.subnets.keys() >= container.networks.keys()
        and all(
            model.hosts.keys() >= set(published.on)
            and (published.network or default_network_of(model, container.networks)) in container.networks
            for published in container.ports
        )
        for container in model.containers.values()
    ) and all(model.hosts.keys() >= set(subnet.hosts) for subnet in model.subnets.values())
