"""Which hosts a topology has, and what a worker must be told to be one of them. Called by `cli`, for `Fleet`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.state.ref import lab_netns, netns_path_name

if TYPE_CHECKING:
    from reconciler.topology.types import Host, Topology

LAB = "lab"
"""The name, among hosts, of what stands between the lab's hosts: its router, `outside`, and the hosts as namespaces."""


@dataclass(frozen=True, slots=True)
class Target:
    """One host. `netns` is the file of a lab host under /run/netns, "" for the machine's own namespace."""

    host: str
    topology: str
    host_key: str
    netns: str = ""
    docker: str = ""
    uplink: str = ""
    addresses: tuple[str, ...] = ()
    """What the file says of the link to others, and of the host's addresses there."""
    existing: dict[str, str] = field(default_factory=dict)
    """Containers that somebody else runs: the topology's name of each, and the engine's."""
    engine_needed: bool = False
    """Whether the file names containers of an engine here."""


def targets_of(topology: Topology, only: str = "") -> tuple[Target, ...]:
    """The hosts of the topology, the lab first where there is one; with `only`, that host and the lab it stands in.

    UsageError where there is no host of that name.
    """
    if only and only not in topology.hosts:
        known = ", ".join(topology.hosts) or "none"
        raise UsageError(f"there is no host {only!r} in {topology.path or topology.name}", f"its hosts are: {known}")
    chosen = [host for host in topology.hosts.values() if only in ("", host.name)]
    lab = [Target(LAB, topology.name, f"{topology.name}.lab")] if any(host.connect.scheme == "lab" for host in chosen) else []
    return (*lab, *(_target(topology, host) for host in chosen))


def _target(topology: Topology, host: Host) -> Target:
    containers = [each for each in topology.containers.values() if each.host == host.name and each.spec.runtime == "docker"]
    netns = netns_path_name(topology.name, lab_netns(host.name)) if host.connect.scheme == "lab" else ""
    return Target(
        host=host.name,
        topology=topology.name,
        host_key=netns or "local",
        netns=netns,
        docker=host.docker or os.environ.get("DOCKER_HOST", ""),
        uplink=host.uplink,
        addresses=tuple(str(address) for address in host.addresses),
        existing={each.name: each.engine_name for each in containers if each.existing},
        engine_needed=bool(containers),
    )
