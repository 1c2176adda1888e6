"""Parts of the format that netctl cannot do yet. `load` calls `check_supported`."""

from __future__ import annotations

from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel


def check_supported(model: TopologyModel, faults: FaultList) -> None:
    """Reject the future key `dns` of a container."""
    for name, container in model.containers.items():
        if container.dns is not None:
            message = "the key `dns` is reserved: this version of netctl cannot do that yet"
            faults.add_at_key(("containers", name, "dns"), message, "remove it")
