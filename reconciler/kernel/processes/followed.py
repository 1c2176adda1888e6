"""The processes that an agent keeps running, by the records that they are of."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.kernel.context import KernelContext
from reconciler.kernel.processes.commands import read_processes
from reconciler.kernel.processes.dhcp_clients import read_clients
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.process import Process
from reconciler.state.ref import Ref, container_netns


def find_processes(topology: str, kinds: Collection[str]) -> dict[Ref, int]:
    """The process numbers of commands and DHCP clients of the topology, on all hosts that share the machine."""
    context, found = KernelContext(topology, "local"), dict[Ref, int]()
    if Process.kind in kinds:
        found |= {Process.ref_of(container_netns(one.container)): one.pid for one in read_processes(context) if one.command}
    if Dhcp.kind in kinds:
        clients = read_clients(context)
        found |= {Dhcp.ref_of(container_netns(one.container), one.dev): one.running.pid for one in clients}
    return found
