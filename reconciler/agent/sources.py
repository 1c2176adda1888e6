"""Which events an agent listens to, for the hosts that it holds."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from functools import partial

from reconciler.fleet.target import Target
from reconciler.kernel.context import DEFAULT_OPENVSWITCH
from reconciler.kernel.events.engines import EngineEvents
from reconciler.kernel.events.files import open_directory_events, open_file_events, open_setting_events
from reconciler.kernel.events.monitors import open_lxc_events
from reconciler.kernel.events.netlink import open_firewall_events, open_route_events
from reconciler.kernel.events.source import Cause, Opener
from reconciler.kernel.events.starts import StartEvents
from reconciler.kernel.openvswitch.openflow import open_flow_events
from reconciler.kernel.run_directory.agent_socket import DIRECTORY
from reconciler.kinds.engine.hosts import HostsFile
from reconciler.kinds.names.name_file import NameFile
from reconciler.kinds.names.resolv_conf import ResolvConf
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.engines import ENGINES
from reconciler.state.host import HostState
from reconciler.state.ref import HOST, LAB, hosts_path, names_path, netns_path_name, resolv_path
from reconciler.topology.env_files import path_of
from reconciler.topology.types import Topology

NAMESPACES = "/run/netns"
OWN_NAMESPACE = "/proc/self/ns/net"

Sources = dict[Hashable, tuple[Cause, Opener]]


def find_sources(topology: Topology, targets: tuple[Target, ...], desired: Mapping[str, HostState], generation: int) -> Sources:
    """The sources by keys that change if the thing behind them is another one, as a namespace that was created again is.

    With a new `generation`, kernel settings are watched again: the files of a link's settings come and go with it.
    """
    found: Sources = {
        **{path: (Cause.FILE, partial(open_file_events, path)) for path in (topology.path, *_env_files(topology))},
        "control": (Cause.CONTROL, partial(open_directory_events, str(DIRECTORY), Cause.CONTROL, (f"{topology.name}.pause",))),
        "namespaces": (Cause.NAMESPACE, partial(open_directory_events, NAMESPACES, Cause.NAMESPACE, _names(topology))),
    }
    for path, has_firewall in dict(_namespaces(topology, targets)).items():
        if inode := _inode(path):
            found["route", path, inode] = (Cause.KERNEL, partial(open_route_events, path))
            if has_firewall:
                found["firewall", path, inode] = (Cause.FIREWALL, partial(open_firewall_events, path))
    for runtime, url in _engines(targets):
        found[runtime, url] = (
            Cause.ENGINE,
            partial(open_lxc_events, url, OWN_NAMESPACE) if runtime == "lxc" else partial(EngineEvents, url),
        )
    if topology.patterns or any(one.existing for one in topology.containers.values()):
        found["starts"] = Cause.START, StartEvents
    for url, bridge in _switches(targets, desired):
        found["flows", url, bridge] = (Cause.SWITCH, partial(open_flow_events, url, bridge, OWN_NAMESPACE))
    for path in dict.fromkeys(_directories(topology, targets, desired)):
        found["hosts", path, _inode(path)] = (Cause.HOSTS, partial(open_directory_events, path, Cause.HOSTS))
    if keys := _settings(topology, targets, desired):
        found["settings", generation] = (Cause.SETTING, partial(open_setting_events, keys))
    return found


def _env_files(topology: Topology) -> Iterator[str]:
    """The files of variables whose directory exists; the next full reading finds the others."""
    paths = (path_of(topology.path, path) for path in topology.env_files)
    return (str(path) for path in paths if path.parent.is_dir())


def _names(topology: Topology) -> tuple[str, ...]:
    """The files under /run/netns that netctl may have for the topology."""
    members = (*topology.hosts, "router", "outside")
    return (
        *(f"{topology.name}.{container}" for container in topology.containers),
        *(f"{topology.name}.lab.{member}" for member in members),
    )


def _namespaces(topology: Topology, targets: tuple[Target, ...]) -> Iterator[tuple[str, bool]]:
    """The namespaces that need a socket of their own, and whether they have a firewall.

    A container with a veth pair is seen from its host. No link of the host leads to an interface in a container on the uplink.
    """
    for target in targets:
        if target.host == LAB:
            for member in ("router", "outside"):
                yield f"{NAMESPACES}/{topology.name}.lab.{member}", True
        else:
            yield _path_of(topology, target, HOST), True
    own = {target.host for target in targets}
    for container in topology.containers.values():
        modes = {topology.subnets[each.subnet].mode for each in container.attachments}
        if container.host in own and container.spec.runtime == "netns" and modes <= {"macvlan"}:
            yield f"{NAMESPACES}/{topology.name}.{container.name}", False


def _engines(targets: tuple[Target, ...]) -> Iterator[tuple[str, str]]:
    for target in targets:
        for runtime in target.containers:
            yield runtime, target.engines.get(runtime) or ENGINES[runtime].usual_place


def _switches(targets: tuple[Target, ...], desired: Mapping[str, HostState]) -> Iterator[tuple[str, str]]:
    """The bridges of Open vSwitch, each with the URL of its database."""
    for target in targets:
        url = target.openvswitch or ("" if target.netns else DEFAULT_OPENVSWITCH)
        state = desired.get(target.host, HostState({}))
        for record in state.records.values() if url else ():
            if isinstance(record, OvsBridge):
                yield url, record.name


def _directories(topology: Topology, targets: tuple[Target, ...], desired: Mapping[str, HostState]) -> Iterator[str]:
    """The directories of files that containers and resolvers read. Those of a holder are its engine's, and no source."""
    found: list[str] = []
    for target in targets:
        records = desired.get(target.host, HostState({})).records.values()
        if any(isinstance(record, HostsFile) and not record.holder for record in records):
            found.append(hosts_path(topology.name, target.host_key, "any"))
        if any(isinstance(record, ResolvConf) for record in records):
            found.append(resolv_path(topology.name, target.host_key, "any"))
        if any(isinstance(record, NameFile) for record in records):
            found.append(names_path(topology.name, target.host_key, "any", ""))
    return (directory for path in found if _inode(directory := path.rpartition("/")[0]))


def _settings(topology: Topology, targets: tuple[Target, ...], desired: Mapping[str, HostState]) -> dict[str, tuple[str, ...]]:
    """The keys of kernel settings that are desired, by the path of their namespace."""
    found: dict[str, list[str]] = {}
    by_host = {target.host: target for target in targets}
    for host, state in desired.items():
        for record in state.records.values() if host in by_host else ():
            if isinstance(record, Sysctl):
                found.setdefault(_path_of(topology, by_host[host], record.netns), []).append(record.key)
    return {path: tuple(keys) for path, keys in found.items() if _inode(path)}


def _path_of(topology: Topology, target: Target, netns: str) -> str:
    """The file of a namespace, for those that have one; a container of an engine has none."""
    if netns == HOST:
        return f"{NAMESPACES}/{target.netns}" if target.netns else OWN_NAMESPACE
    return f"{NAMESPACES}/{netns_path_name(topology.name, netns)}"


def _inode(path: str) -> int:
    """A number that a new namespace of the same name does not have; 0 if there is none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116  the file of a namespace, thousands of times
    except OSError:
        return 0
