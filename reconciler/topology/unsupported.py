"""What the format has and this version of netctl cannot do yet: one refusal each, with its sentence.

`load` calls `check_supported` last, on a topology that is right in itself. Each line of the tables, and each function that
`check_supported` calls, can be removed on its own when the feature comes.
"""

from __future__ import annotations

from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel

_NOT_YET = "this version of netctl cannot do that yet"


def check_supported(model: TopologyModel, faults: FaultList) -> None:
    """Refuse what comes later."""
    _refuse_reserved_keys(model, faults)


def _refuse_reserved_keys(model: TopologyModel, faults: FaultList) -> None:
    for name, container in model.containers.items():
        if container.dns is not None:
            faults.add_at_key(("containers", name, "dns"), f"the key `dns` is reserved: {_NOT_YET}", "remove it")
