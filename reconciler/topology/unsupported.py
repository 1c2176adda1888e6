"""What the format has and netctl cannot do yet. `load` calls `check_supported` last, on a topology that is right in itself."""

from __future__ import annotations

from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel


def check_supported(model: TopologyModel, faults: FaultList) -> None:
    """Refuse what comes later: `dns` in a container."""
    for name, container in model.containers.items():
        if container.dns is not None:
            message = "the key `dns` is reserved: this version of netctl cannot do that yet"
            faults.add_at_key(("containers", name, "dns"), message, "remove it")
