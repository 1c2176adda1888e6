"""Rules about a container in the network of another one."""

from __future__ import annotations

from reconciler.topology.expand import host_of, runtime_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.scalars import suggest
from reconciler.topology.types import Path

_OWN_KEYS = ("networks", "ports", "connections", "hostname", "aliases", "extra_hosts", "dns")
"""What belongs to the network, and so to its owner."""


def check_share(model: TopologyModel, name: str, container: ContainerModel, faults: FaultList) -> None:
    """The other one exists, has a network of netctl's, and is on the same host; the sharer has no network of its own."""
    here: Path = ("containers", name, "share")
    other = model.containers.get(container.share)
    if other is None:
        if not faults.left_out(("containers", container.share)):
            faults.add(here, f"there is no container `{container.share}`", suggest(container.share, list(model.containers)))
        return
    for key in _OWN_KEYS:
        if key in container.model_fields_set:
            message = f"`{key}` has no meaning for `{name}`: it has the network of `{container.share}`"
            faults.add_at_key(("containers", name, key), message, f"write it at `{container.share}`, or remove `share`")
    if other is container or other.share:
        whose = "itself" if other is container else f"`{container.share}`, which shares one too"
        faults.add(here, f"`{name}` cannot share the network of {whose}", "name the container that has networks")
    elif other.existing or other.replicas is not None:
        what = "another program runs" if other.existing else "has replicas"
        faults.add(here, f"`{name}` cannot share the network of `{container.share}`, which {what}", "name another container")
    elif runtime_of(other) != runtime_of(container):
        message = f"`{name}` and `{container.share}` have different runtimes: {runtime_of(container)} and {runtime_of(other)}"
        faults.add(here, message, "give both the same `runtime`")
    elif host_of(model, other) != host_of(model, container):
        faults.add(here, f"`{name}` and `{container.share}` are on different hosts", "give both the same `host`")
