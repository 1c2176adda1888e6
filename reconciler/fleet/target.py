"""The hosts of a topology, and the data that a worker needs to be one of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.state.members import Selector
from reconciler.state.ref import LAB, lab_netns, netns_path_name

if TYPE_CHECKING:
    from reconciler.topology.outline import Outline
    from reconciler.topology.types import Connect, Host, Topology


@dataclass(frozen=True, slots=True)
class Target:
    """One host. `netns` is the file of a lab host under /run/netns, "" for the machine's own namespace."""

    host: str
    topology: str
    host_key: str
    netns: str = ""
    engines: dict[str, str] = field(default_factory=dict)
    """The engines' sockets that are not at their default path, by runtime."""
    uplink: str = ""
    addresses: tuple[str, ...] = ()
    """The link to other hosts, and the host's addresses there, as in the file."""
    peers: tuple[str, ...] = ()
    """The addresses of the file's other hosts: the routes to them determine the link by which this one reaches them.

    A lab host's link is known without them.
    """
    containers: dict[str, dict[str, str]] = field(default_factory=dict)
    """The runtimes of containers here; for each, the existing containers: the topology's name, and the engine's."""
    members: dict[str, dict[str, Selector]] = field(default_factory=dict)
    """For each of these runtimes, the containers of the file that labels select."""
    openvswitch: str = ""
    """The socket of the host's Open vSwitch database, if the file has it."""
    openvswitch_needed: bool = False
    """Whether the file has an Open vSwitch subnet on the host."""
    ssh: Connect | None = None
    """Its ssh connection if it is another machine."""

    @property
    def destination(self) -> str:
        """Its destination as in the file: `ssh://root@alpha:22`; "" if it is on this machine."""
        return render_destination(self.ssh) if self.ssh else ""


def targets_of(topology: Topology, only: str = "") -> tuple[Target, ...]:
    """The hosts of the topology, the lab first if there is one; with `only`, that host and its lab.

    UsageError if there is no host of that name.
    """
    if only and only not in topology.hosts:
        known = ", ".join(topology.hosts) or "none"
        raise UsageError(f"there is no host {only!r} in {topology.path or topology.name}", f"its hosts are: {known}")
    chosen = [host for host in topology.hosts.values() if only in ("", host.name)]
    return (*_lab_of(topology.name, chosen), *(_target(topology, host) for host in chosen))


def early_targets_of(outline: Outline) -> tuple[Target, ...]:
    """The result of `targets_of` if it follows from the outline alone: of a lab without engines. Else empty."""
    hosts = outline.hosts
    if not outline.is_bare or any(host.connect.scheme != "lab" for host in hosts.values()):
        return ()
    return (*_lab_of(outline.name, hosts.values()), *(_bare_target(outline.name, host, hosts) for host in hosts.values()))


def count_workers(outline: Outline) -> int:
    """The number of workers on this machine that the file needs."""
    near = [host for host in outline.hosts.values() if host.connect.scheme != "ssh"]
    return len(near) + len(_lab_of(outline.name, near))


def _lab_of(topology: str, hosts: Iterable[Host]) -> tuple[Target, ...]:
    """The lab that contains these hosts."""
    return (Target(LAB, topology, f"{topology}.lab"),) if any(host.connect.scheme == "lab" for host in hosts) else ()


def peers_of(topology: Topology) -> dict[str, str]:
    """The hosts on other machines and their destinations, which each machine is to remember."""
    return {host.name: render_destination(host.connect) for host in topology.hosts.values() if host.connect.scheme == "ssh"}


def dropped_peers(present: Mapping[str, str], topology: str, remembered: Mapping[str, str]) -> tuple[Target, ...]:
    """The remembered machines that are not present any more, both by name and destination.

    If its name now belongs to another machine, its name is the destination.
    """
    there = set(present.values())
    return tuple(
        remote_target(destination if host in present else host, topology, destination)
        for host, destination in remembered.items()
        if destination not in there
    )


def remote_target(host: str, topology: str, destination: str) -> Target:
    """Another machine that no file describes. UsageError if the destination has not the form of a file's."""
    from pydantic_core import PydanticCustomError

    from reconciler.topology.connect import parse_connect

    try:
        connect = parse_connect(destination)
    except PydanticCustomError:
        raise UsageError(f"{destination!r} is not a destination of a host", "write ssh://[user@]name[:port]") from None
    return Target(host, topology, "local", ssh=connect)


def render_destination(connect: Connect) -> str:
    """The destination as in the file: `ssh://root@alpha:22`."""
    user = f"{connect.user}@" if connect.user else ""
    name = f"[{connect.name}]" if ":" in connect.name else connect.name
    return f"ssh://{user}{name}" + (f":{connect.port}" if connect.port else "")


def _target(topology: Topology, host: Host) -> Target:
    containers: dict[str, dict[str, str]] = {}
    for each in topology.containers.values():
        if each.host == host.name and each.spec.runtime != "netns":
            existing = containers.setdefault(each.spec.runtime, {})
            existing |= {each.name: each.engine_name} if each.existing else {}
    members: dict[str, dict[str, Selector]] = {}
    for pattern in topology.patterns.values():
        if pattern.container.host == host.name:
            containers.setdefault(pattern.container.spec.runtime, {})
            members.setdefault(pattern.container.spec.runtime, {})[pattern.container.origin] = pattern.selector
    from reconciler.topology.host_subnets import host_subnets_of

    return replace(
        _bare_target(topology.name, host, topology.hosts),
        containers=containers,
        members=members,
        openvswitch_needed=any(
            host.name in hosts and topology.subnets[subnet].bridge == "openvswitch"
            for subnet, hosts in host_subnets_of(topology).items()
        ),
    )


def _bare_target(topology: str, host: Host, hosts: Mapping[str, Host]) -> Target:
    """The host, without what depends on subnets and containers."""
    netns = netns_path_name(topology, lab_netns(host.name)) if host.connect.scheme == "lab" else ""
    return Target(
        host=host.name,
        topology=topology,
        host_key=netns or "local",
        netns=netns,
        engines=engines_of(host),
        uplink=host.uplink,
        addresses=tuple(str(address) for address in host.addresses),
        peers=() if netns else _addresses_of_others(hosts, host),
        openvswitch=host.openvswitch,
        ssh=host.connect if host.connect.scheme == "ssh" else None,
    )


def _addresses_of_others(hosts: Mapping[str, Host], host: Host) -> tuple[str, ...]:
    others = (other for other in hosts.values() if other.name != host.name)
    return tuple(str(address) for other in others for address in other.addresses)


def engines_of(host: Host) -> dict[str, str]:
    """The sockets of the host's engines from the file; else Docker's from the environment, as `docker` itself does.

    The environment is this machine's, and does not apply to another.
    """
    default = {} if host.connect.scheme == "ssh" else default_engines()
    return {**default, **host.engines}


def default_engines() -> dict[str, str]:
    """The sockets of this machine's engines in the environment."""
    docker = os.environ.get("DOCKER_HOST", "")
    return {"docker": docker} if docker else {}
