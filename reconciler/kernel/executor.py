"""The execution of steps: each backend's batch goes to its module.

It decides nothing, and rolls back nothing. A rejected step raises StepError. The finished part of its batch stays until
a rollback reads the host again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.kernel.engines.engine import run_runtime_steps
from reconciler.kernel.names.backend import run_name_steps
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netfilter.conntrack import flush_flows
from reconciler.kernel.netfilter.iptables import apply_step
from reconciler.kernel.netlink.backend import run_netlink_steps
from reconciler.kernel.netlink.dump import read_stp_delays, read_unready
from reconciler.kernel.netlink.ethtool import run_offload_steps
from reconciler.kernel.openvswitch.backend import run_ovsdb_steps
from reconciler.kernel.openvswitch.openflow import run_flow_steps
from reconciler.kernel.processes.commands import run_process_steps
from reconciler.kernel.processes.dhcp_clients import run_dhcp_steps
from reconciler.kernel.run_directory.notes import write_openvswitch
from reconciler.kernel.settings.sysctl import run_sysctl_steps
from reconciler.kernel.uplink.announce import run_announcements
from reconciler.kernel.uplink.move import run_uplink_steps
from reconciler.plan.execute import never
from reconciler.plan.order import Batch
from reconciler.state.naming import group_of
from reconciler.state.ref import HOST, is_container_netns
from reconciler.state.steps.addresses import AddressAdd, Announce
from reconciler.state.steps.backends import (
    ANNOUNCE,
    CONNTRACK,
    DHCP,
    ETHTOOL,
    IPTABLES,
    NAMES,
    NETLINK,
    NETNS,
    NFT,
    OPENFLOW,
    OVSDB,
    PROCESS,
    RUNTIME,
    SYSCTL,
    UPLINK,
)
from reconciler.state.steps.containers import ContainerCreate, ContainerStart, ProcessStart
from reconciler.state.steps.firewall import ConntrackFlush, IptablesAdd, IptablesDelete, NftCommand
from reconciler.state.steps.links import LinkAdd, LinkSet
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete
from reconciler.state.steps.step import RefusedError, Step, StepError

if TYPE_CHECKING:
    from reconciler.kernel.netfilter.nft import NftSession

SETTLE_TIMEOUT_S = 10.0
SETTLE_POLL_S = 0.002
PORTS_TIMEOUT_S = 2.0
"""The kernel takes a second at most from a link's carrier to its port's forwarding state."""
ENDED_AT_ONCE_S = 0.1
"""The time in which a new container may end at once. Its start is the last step, so no other step gives it that time."""
STP_POLL_S = 0.1
"""Under STP a port takes seconds."""

PROGRAMS = (ContainerCreate, ContainerStart, ProcessStart)
"""The steps that start a program of the user's."""

Waiting = Callable[[str, float], None]
"""Called with the name of a bridge and the seconds that its STP holds a new port back."""


def ignore(_bridge: str, _seconds: float) -> None:
    """Waits without reporting."""


class KernelHost:
    """The worker's host, as `plan.execute` uses it."""

    def __init__(self, namespaces: Namespaces) -> None:
        """`namespaces` are shared with the reading, so that open sockets are reused."""
        self._namespaces = namespaces
        self._context = namespaces.context
        self._rewired: set[str] = set()
        self._announcements: list[Announce] = []
        self._started_s = 0.0
        """When the last container was started."""
        self._nft: dict[tuple[int, int], NftSession] = {}

    def run(self, batch: Batch) -> None:
        """Execute the batch. StepError at the first step that is rejected."""
        try:
            self._run(batch)
        except HostError as error:
            words = f"{error.message} ({error.help_text})" if error.help_text else error.message
            # A container's namespace may disappear at any moment, with its last process.
            refuse = RefusedError if is_container_netns(batch.netns) else StepError
            raise refuse(batch.steps[0], words) from error

    def _run(self, batch: Batch) -> None:
        backends: dict[str, Callable[[Batch], None]] = {
            NETLINK: self._run_netlink,
            NETNS: self._run_netns,
            SYSCTL: lambda batch: run_sysctl_steps(self._namespaces, batch.steps),
            NFT: lambda batch: self._run_nft(batch.netns, batch.steps),
            RUNTIME: lambda batch: self._namespaces.add_pids(run_runtime_steps(self._context, batch.steps)),
            PROCESS: lambda batch: run_process_steps(self._context, batch.steps, self._namespaces.path),
            IPTABLES: self._run_iptables,
            DHCP: lambda batch: run_dhcp_steps(self._context, batch.steps, self._namespaces.path),
            UPLINK: self._run_uplinks,
            CONNTRACK: lambda batch: self._run_conntrack(batch.steps),
            OVSDB: self._run_ovsdb,
            OPENFLOW: lambda batch: run_flow_steps(self._context.openvswitch, batch.steps),
            ANNOUNCE: self._note_announcements,
            NAMES: lambda batch: run_name_steps(self._context, batch.steps),
            ETHTOOL: lambda batch: run_offload_steps(self._namespaces, batch.steps),
        }
        self._await_ports(batch.steps)
        backends[batch.backend](batch)
        if any(isinstance(step, ContainerCreate | ContainerStart) for step in batch.steps):
            self._started_s = time.monotonic()

    def _await_ports(self, steps: Sequence[Step]) -> None:
        """Before programs start, wait until the new links pass packets; not for a bridge under STP, which takes seconds."""
        if not any(isinstance(step, PROGRAMS) for step in steps):
            return
        deadline_s = time.monotonic() + PORTS_TIMEOUT_S
        for netns in sorted(self._rewired):
            route_socket, group = self._namespaces.socket(netns), group_of(self._context.topology)
            while (unready := read_unready(route_socket, group)) and time.monotonic() < deadline_s:
                if read_stp_delays(route_socket, unready):
                    break
                time.sleep(SETTLE_POLL_S)

    def _run_iptables(self, batch: Batch) -> None:
        for step in batch.steps:
            if isinstance(step, IptablesAdd | IptablesDelete):
                apply_step(self._namespaces, step)

    def _run_uplinks(self, batch: Batch) -> None:
        run_uplink_steps(self._namespaces, batch.steps)
        self._rewired.add(HOST)

    def _note_announcements(self, batch: Batch) -> None:
        self._announcements += [step for step in batch.steps if isinstance(step, Announce)]

    def _run_netlink(self, batch: Batch) -> None:
        run_netlink_steps(self._namespaces, batch.netns, batch.steps)
        rewires = any(isinstance(step, LinkAdd | LinkSet | AddressAdd) for step in batch.steps)
        if rewires and not is_container_netns(batch.netns):
            self._rewired.add(batch.netns)

    def _run_netns(self, batch: Batch) -> None:
        self._rewired -= {step.netns for step in batch.steps if isinstance(step, NetnsDelete)}
        self._namespaces.remove(step for step in batch.steps if isinstance(step, NetnsDelete))
        self._namespaces.add(step for step in batch.steps if isinstance(step, NetnsAdd))

    def _run_nft(self, netns: str, steps: Sequence[Step]) -> None:
        from reconciler.kernel.netfilter.nft import NftSession  # loads libnftables

        # A lab host that is re-created within a session has another namespace, but a session stays in the old one.
        identity = self._namespaces.identity(netns)
        if identity not in self._nft:
            self._nft[identity] = self._namespaces.run(netns, NftSession)
        commands = [step for step in steps if isinstance(step, NftCommand)]
        # Its socket stays in the namespace, but names of links are resolved in the namespace of the thread.
        self._namespaces.run(netns, lambda: self._nft[identity].run(commands))

    def _run_ovsdb(self, batch: Batch) -> None:
        write_openvswitch(self._context)
        run_ovsdb_steps(self._context.openvswitch, batch.steps)

    def _run_conntrack(self, steps: Sequence[Step]) -> None:
        ports: dict[str, set[tuple[str, int]]] = {}
        for step in steps:
            if isinstance(step, ConntrackFlush):
                ports.setdefault(step.netns, set()).add((step.protocol, step.port))
        for netns, wanted in ports.items():
            self._namespaces.run(netns, partial(flush_flows, wanted))

    def settle(self, waiting: Waiting = ignore, cancelled: Callable[[], bool] = never) -> None:
        """Return when new links pass packets: ports forward, and no address is under duplicate address detection.

        A container that was started has then run for a moment, or has ended.

        Then it announces addresses whose location has changed; earlier, a port might have dropped the announcement.

        An acknowledged link is not yet usable. The kernel moves a port to forwarding after the message. Under STP it
        keeps a port in listening and learning for `forward_delay` each (IEEE 802.1D). HostError 10 s after that time.
        `waiting` is called for each such bridge, with the seconds; `cancelled` says whether to stop.
        """
        begin_s = time.monotonic()
        group = group_of(self._context.topology)
        for netns in sorted(self._rewired):
            route_socket, delays, held = self._namespaces.socket(netns), dict[str, float](), tuple[str, ...]()
            while unready := read_unready(route_socket, group):
                if cancelled():
                    raise HostError("stopped by the user")
                for bridge, delay_s in read_stp_delays(route_socket, unready).items():
                    if bridge not in delays:
                        delays[bridge], held = delay_s, unready
                        waiting(bridge, delay_s)
                limit_s = SETTLE_TIMEOUT_S + max(delays.values(), default=0)
                if time.monotonic() > begin_s + limit_s:
                    stp = f"STP of {', '.join(delays)} blocks {', '.join(held[:5])}" if delays else ""
                    raise HostError(_not_ready(netns, unready, limit_s, stp))
                time.sleep(STP_POLL_S if delays else SETTLE_POLL_S)
        self._rewired.clear()
        time.sleep(max(0.0, self._started_s + ENDED_AT_ONCE_S - time.monotonic()))
        announcements, self._announcements = self._announcements, []
        for one in announcements:
            # In a rollback, the address to announce may have been deleted again.
            with contextlib.suppress(StepError, HostError):
                run_announcements(self._namespaces, (one,))

    def close(self) -> None:
        """Close every namespace."""
        self._nft.clear()
        self._namespaces.close()


def _not_ready(netns: str, unready: Sequence[str], limit_s: float, stp: str) -> str:
    where = f" in {netns}" if netns != HOST else ""
    return f"no packets pass yet{where}, after {limit_s:.0f} s: {', '.join(unready[:5])}{f' ({stp})' if stp else ''}"
