"""Rules about duplicates in lists: variables, mounts, hosts, routes, ports of a policy.

`yaml` reports equal keys of a mapping while it reads the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from reconciler.topology.faults import FaultList
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.types import Path


def check_twice(model: TopologyModel, faults: FaultList) -> None:
    """Every rule about duplicates."""
    for name, container in model.containers.items():
        _check_container(("containers", name), container, faults)
    for name, subnet in model.subnets.items():
        _refuse_second(("subnets", name, "hosts"), ((host, f"the host `{host}`") for host in subnet.hosts), faults)
    for number, policy in enumerate(model.policies):
        said = ((port, f"{port.first}/{port.protocol}") for port in policy.ports or ())
        _refuse_second(("policies", number, "ports"), ((port, f"the port {words}") for port, words in said), faults)


def _check_container(here: Path, container: ContainerModel, faults: FaultList) -> None:
    _refuse_second((*here, "env"), ((name, f"the variable `{name}`") for name, _ in container.env), faults)
    targets = (volume.split(":")[1].rstrip("/") or "/" for volume in container.volumes)
    _refuse_second((*here, "volumes"), ((target, f"the container's path {target}") for target in targets), faults)
    earlier: set[Hashable] = set()
    for subnet, network in container.networks.items():
        for number, route in enumerate(network.routes):
            for to in route.to:
                if to in earlier:
                    path = (*here, "networks", subnet, "routes", number)
                    faults.add(path, f"the route to {to} is given twice", "keep one of them: one network has one next hop")
                earlier.add(to)


def _refuse_second(path: Path, items: Iterable[tuple[Hashable, str]], faults: FaultList) -> None:
    """A fault for each item that occurred before, with the line of the first."""
    first: dict[Hashable, int] = {}
    for number, (item, words) in enumerate(items):
        before = first.setdefault(item, number)
        if before != number:
            message = f"{words} is given twice; it stands in line {faults.line((*path, before))} already"
            faults.add((*path, number), message, "remove one of the two")
