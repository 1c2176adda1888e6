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
    engines: dict[str, str] = field(default_factory=dict)
    """Where the engines listen that are not at their usual place, by runtime."""
    uplink: str = ""
    addresses: tuple[str, ...] = ()
    """What the file says of the link to others, and of the host's addresses there."""
    containers: dict[str, dict[str, str]] = field(default_factory=dict)
    """The runtimes of which the file names containers here; for each, those that somebody else runs: the topology's name, and
    the engine's."""


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
    containers: dict[str, dict[str, str]] = {}
    for each in topology.containers.values():
        if each.host == host.name and each.spec.runtime != "netns":
            existing = containers.setdefault(each.spec.runtime, {})
            existing |= {each.name: each.engine_name} if each.existing else {}
    netns = netns_path_name(topology.name, lab_netns(host.name)) if host.connect.scheme == "lab" else ""
    return Target(
        host=host.name,
        topology=topology.name,
        host_key=netns or "local",
        netns=netns,
        engines=engines_of(host),
        uplink=host.uplink,
        addresses=tuple(str(address) for address in host.addresses),
        containers=containers,
    )


def engines_of(host: Host) -> dict[str, str]:
    """Where the host's engines listen, as the file says; Docker's else as the environment says, as for `docker` itself."""
    told = {"docker": host.docker or os.environ.get("DOCKER_HOST", ""), "podman": host.podman}
    return {runtime: url for runtime, url in told.items() if url}
