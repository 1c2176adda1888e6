"""The kinds of things on a host, one file each: the thing, its recognition, and its steps.

`KINDS` is the only list of them. The worker uses it to read a snapshot and to decode requests; `compile` creates
records of these kinds; `plan` sees them only as records.
"""

from __future__ import annotations

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.engine.hosts import HostsFile
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook, FastPathLink
from reconciler.kinds.links import LINKS
from reconciler.kinds.names.name_file import NameFile
from reconciler.kinds.names.resolv_conf import ResolvConf
from reconciler.kinds.names.resolver import Resolver
from reconciler.kinds.netns import Netns
from reconciler.kinds.openvswitch.bridge import OvsBridge, OvsPort
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.process import Process
from reconciler.kinds.settings.offload import Offload
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.stray import StrayLink, StrayQueue, StrayRoute, StraySwitch, find_strays
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.snapshot import Snapshot

KINDS: tuple[type[Record], ...] = (
    Netns,
    NetnsHolder,
    HostsFile,
    EngineContainer,
    Sysctl,
    OvsBridge,
    FirewallTable,
    FirewallElement,
    DockerUser,
    Uplink,
    *LINKS,
    Fdb,
    FastPathHook,
    FastPathLink,
    Offload,
    OvsPort,
    OvsFlow,
    Qdisc,
    Address,
    Route,
    Neighbor,
    NameFile,
    Resolver,
    ResolvConf,
    Process,
    Dhcp,
    StrayRoute,
    StrayLink,
    StraySwitch,
    StrayQueue,
)
"""The kinds in the order of creation, as users read a plan. The planner does not rely on it."""


def recognise_all(snapshot: Snapshot) -> HostState:
    """All that the topology owns on the host: the live state."""
    return HostState.of(record for kind in KINDS for record in kind.recognise(snapshot))


def with_strays(live: HostState, snapshot: Snapshot, desired: HostState) -> HostState:
    """The live state, with the foreign things that occupy the position of a desired one."""
    strays = tuple(find_strays(snapshot, live, desired))
    return HostState({**live.records, **{record.ref: record for record in strays}}) if strays else live
