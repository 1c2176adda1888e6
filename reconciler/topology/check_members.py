"""Rules about containers that labels select: their members are not known before the hosts are read."""

from __future__ import annotations

from reconciler.state.members import NAME_MAX, NUMBER_LENGTH, Selector
from reconciler.topology.expand import host_of, names_of, runtime_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.types import Path


def check_members(model: TopologyModel, faults: FaultList) -> None:
    """The engine has labels, no two containers of the file have the same members, and no name is that of a member."""
    selectors = {
        name: container.existing for name, container in model.containers.items() if isinstance(container.existing, Selector)
    }
    taken: dict[tuple[str, str, Selector], str] = {}
    for name, chosen in selectors.items():
        here: Path = ("containers", name)
        runtime = runtime_of(model.containers[name])
        if runtime == "lxc":
            message = f"`{name}` cannot be found by labels: LXC has none"
            faults.add((*here, "existing"), message, "write the container's name, or `runtime: docker`")
        other = taken.setdefault((host_of(model, model.containers[name]), runtime, chosen), name)
        if other != name:
            faults.add((*here, "existing"), f"`{name}` and `{other}` would be the same containers", "remove one of the two")
        if chosen.is_service and len(name) > NAME_MAX - NUMBER_LENGTH - 1:
            message = f"the name `{name}` is too long for a service: a number follows, and {NAME_MAX} characters are allowed"
            faults.add_at_key(here, message, f"shorten it to {NAME_MAX - NUMBER_LENGTH - 1}")
    for origin, container in model.containers.items():
        for name in names_of(origin, container):
            service = name.rpartition("-")[0]
            selector = selectors.get(service)
            if service != origin and selector and selector.may_name(service, name):
                message = f"the name `{name}` is taken twice: a container of the service `{service}` can also have it"
                faults.add_at_key(("containers", origin), message, "rename one of them")
