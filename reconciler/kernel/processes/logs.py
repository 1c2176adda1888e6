"""The logs under /run/netctl of programs in containers' networks: commands of plain namespaces, and DHCP clients."""

from __future__ import annotations

from reconciler.kernel.context import KernelContext
from reconciler.kernel.processes.dhcp_clients import read_clients


def remove_stale_logs(context: KernelContext) -> None:
    """Delete logs that no process writes to any more, and the topology's directory if it is empty.

    The lab's hosts share the directory, as they share /run/netns. A client in an engine's container has no namespace
    there. The search for clients takes a pass over all processes, so it is done for such logs only.
    """
    try:
        logs = list(context.topology_directory.glob("*.log"))
    except FileNotFoundError:
        return
    # The name of one that shares a network begins with the other container's.
    logs = [log for log in logs if not (context.netns_directory / f"{context.topology}.{log.stem.partition('.')[0]}").exists()]
    asking = {client.container for client in read_clients(context)} if logs else set()
    for log in logs:
        if log.stem not in asking:
            log.unlink(missing_ok=True)
    try:
        context.topology_directory.rmdir()
    except OSError:  # missing, or with another program's file in it
        return
