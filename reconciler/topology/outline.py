"""The name and the hosts of a file, checked before the rest of it. `cli` starts the workers with them.

Reading the hosts takes as long as checking the file, and there are at least two cores, so both run at the same time.
The functions of the model parse the name and the hosts. So if these are valid, `load` returns the same. The model
itself is not imported here: its import is half of the time of a check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from reconciler.state.engines import ENGINES
from reconciler.topology.addresses import parse_addresses
from reconciler.topology.connect import parse_connect, parse_engine, parse_lxc_path
from reconciler.topology.scalars import parse_interface, parse_label, parse_topology_name
from reconciler.topology.types import Host
from reconciler.topology.yaml import Tree

HOST_KEYS: dict[str, Callable[[Any], Any]] = {
    "connect": parse_connect,
    "address": parse_addresses,
    "uplink": parse_interface,
    **{runtime: parse_engine if engine.has_socket else parse_lxc_path for runtime, engine in ENGINES.items()},
    "openvswitch": parse_engine,
}
"""The keys of a host, as `model.hosts` has them."""
ENGINE_KEYS = frozenset(("image", "existing", "runtime"))


@dataclass(frozen=True, slots=True)
class Outline:
    """The part of a file that is known before all of it is checked."""

    name: str
    hosts: Mapping[str, Host]
    is_bare: bool
    """Whether all containers are bare namespaces and all bridges are the kernel's: then the hosts alone determine the reading."""


def outline_of(tree: Tree) -> Outline | None:
    """The outline of a file with these values; None if its name or its hosts are wrong, which `load` then reports."""
    if not isinstance(tree, dict) or not isinstance(tree.get("hosts"), dict):
        return None
    try:
        hosts = {parse_label(name): _parse_host(name, values) for name, values in tree["hosts"].items()}
        return Outline(parse_topology_name(tree.get("name")), hosts, _is_bare(tree))
    except (PydanticCustomError, LookupError, TypeError):
        return None


def _parse_host(name: str, values: dict[str, Any]) -> Host:
    """LookupError or TypeError if it is no mapping, lacks `connect`, or has a key that no host has."""
    parsed = {key: HOST_KEYS[key](value) for key, value in dict(values).items()}
    engines = {runtime: place for runtime in ENGINES if (place := parsed.pop(runtime, ""))}
    return Host(name=name, connect=parsed.pop("connect"), addresses=parsed.pop("address", ()), engines=engines, **parsed)


def _is_bare(tree: dict[str, Any]) -> bool:
    containers, subnets = tree.get("containers", {}), tree.get("subnets", {})
    return (
        isinstance(containers, dict)
        and isinstance(subnets, dict)
        and all(isinstance(values, dict) and ENGINE_KEYS.isdisjoint(values) for values in containers.values())
        and all(isinstance(values, dict) and values.get("bridge") != "openvswitch" for values in subnets.values())
    )
