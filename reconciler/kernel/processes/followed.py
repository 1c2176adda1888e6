"""The processes that an agent keeps running, by the records that they are of."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.kernel.context import KernelContext
from reconciler.kernel.names.resolvers import read_all_resolvers
from reconciler.kernel.processes.commands import read_processes
from reconciler.kernel.processes.dhcp_clients import read_clients
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.names.resolver import Resolver
from reconciler.kinds.process import Process
from reconciler.state.ref import Ref, container_netns


def find_processes(topology: str, kinds: Collection[str]) -> list[tuple[Ref, int]]:
    """The processes of the topology's commands, DHCP clients and resolvers, on all hosts that share the machine."""
    context, found = KernelContext(topology, "local"), list[tuple[Ref, int]]()
    if Process.kind in kinds:
        found += [(Process.ref_of(container_netns(one.container)), one.pid) for one in read_processes(context) if one.command]
    if Dhcp.kind in kinds:
        clients = read_clients(context)
        found += [(Dhcp.ref_of(container_netns(one.container), one.dev), one.running.pid) for one in clients]
    if Resolver.kind in kinds:
        resolvers = read_all_resolvers(context)
        found += [(Resolver.ref_of(one.subnet, one.view), one.running.pid) for one in resolvers if one.config]
    return found
