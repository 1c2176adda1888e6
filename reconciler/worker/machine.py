"""The real host of a worker: `kernel/` behind the few methods that the worker needs."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import HostError, help_for
from reconciler.kernel.context import DEFAULT_OPENVSWITCH, KernelContext
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces, enter
from reconciler.kernel.processes.worker_process import die_with_parent, enter_or_leave, read_machine, reap_children, return_memory
from reconciler.kernel.run_directory import notes
from reconciler.kernel.run_directory.lock import HostLock, read_occupancy
from reconciler.kernel.run_directory.private import check_directories
from reconciler.kernel.settings.sysctl import read_sysctls
from reconciler.kernel.snapshot import Interest, check_namespaces, read_snapshot
from reconciler.plan.order import Batch
from reconciler.state.host import HostFacts, Occupancy
from reconciler.state.record import InterfaceKey, Record
from reconciler.state.ref import HOST
from reconciler.state.snapshot import Snapshot, reuse
from reconciler.state.starts import StartAnswer
from reconciler.state.steps.namespaces import NetnsAdd
from reconciler.state.trace import TraceEvent, TraceRequest
from reconciler.state.traffic import TrafficCount
from reconciler.worker.protocol import Hello, Introduction

if TYPE_CHECKING:
    from reconciler.kernel.netfilter.trace import Tracer
    from reconciler.probes.run import Prober


def open_machine(hello: Hello) -> KernelMachine:
    """The host that a controller's first message names, its namespace entered. HostError if that is not possible."""
    if hello.parent and not die_with_parent(hello.parent):
        raise HostError("the controller has ended")
    context = KernelContext(
        hello.topology,
        hello.host_key,
        uplink=hello.uplink,
        addresses=hello.addresses,
        peers=hello.peers,
    )
    # The file there names the engines' sockets, and the values to restore.
    check_directories(context.run_directory, context.host_directory, context.topology_directory)
    engines = {**notes.read_engines(context), **hello.engines}
    # A lab host shares the machine's files, and must not use its switch.
    usual = "" if hello.netns else DEFAULT_OPENVSWITCH
    switch = hello.openvswitch or notes.read_openvswitch(context) or usual
    context = replace(context, engines=tuple(sorted(engines.items())), openvswitch=switch)
    # Opened before the process enters a lab host's namespace.
    context = replace(context, machine_netns=f"/proc/self/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}")
    machine = KernelMachine(context, hello.netns, hello.command, hello.parent, hello.run)
    if hello.stays:
        machine.remember_readings()
    machine.enter()
    return machine


class KernelMachine:
    """The machine that this process runs on, or the namespace of a lab host on it."""

    def __init__(self, context: KernelContext, netns: str, command: str, controller: int, run: str = "") -> None:
        """`netns` is the file name under /run/netns of a lab host, "" otherwise; the lock stores the rest.

        `controller` is the controller's process, 0 if that is on another machine; `run` then identifies it.
        """
        self._context = context
        self._netns = context.netns_directory / netns if netns else None
        self._command = command
        self._controller = controller
        self._run = run
        self._namespaces = Namespaces(context)
        self._host = KernelHost(self._namespaces)
        self._lock = HostLock(context)
        self._prober: Prober | None = None
        self._tracer: Tracer | None = None
        self._flows_traced: tuple[TraceEvent, ...] = ()
        self._exists = True
        self._is_resting = False
        self._remembers = False
        self._last: Snapshot | None = None
        """The last reading, if it is remembered."""

    def remember_readings(self) -> None:
        """From here on, a reading reuses what is equal in the last one: for a controller that reads again and again."""
        self._remembers = True
        self._namespaces.remember_dumps()

    def enter(self) -> None:
        """Enter the host's namespace, which may be new; an empty one if it does not exist."""
        if self._netns is None:
            return
        try:
            self._exists = enter_or_leave(str(self._netns))
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise HostError("netctl needs root to enter network namespaces", "run it with sudo") from error
            raise HostError(f"cannot enter the namespace {self._netns}: {error.strerror}", help_for(error)) from error

    def lock(self, *, brief: bool) -> None:
        """Take the host's lock, or raise LockedError. A `brief` holder is an agent."""
        self._lock.take(self._command, self._controller or None, self._run, brief=brief)

    def mark(self, *, orphan: bool) -> None:
        """Note in the lock whether the controller is lost."""
        self._lock.mark(orphan=orphan)

    def introduce(self) -> Introduction:
        """The identity of this machine, the topology's other hosts that it remembers, and the holder of its lock."""
        machine, peers = read_machine(self._context.own_netns), notes.read_peers(self._context)
        return Introduction(machine, peers, self.read_occupancy())

    def count_connections(self, addresses: Sequence[str]) -> Mapping[str, int]:
        """The number of entries in connection tracking that each address opened."""
        from reconciler.kernel.netfilter.connections import count_connections

        return self._namespaces.run(HOST, lambda: count_connections(addresses)) if self._exists else {}

    def read_traffic(self) -> tuple[TrafficCount, ...]:
        """What the firewall has counted."""
        from reconciler.kernel.netfilter.nft import read_traffic

        return self._namespaces.run(HOST, lambda: read_traffic(self._context.topology)) if self._exists else ()

    def answer_starts(self, answers: Sequence[StartAnswer]) -> None:
        """Answer containers that wait for their network."""
        from reconciler.kernel.starts.records import write_answer

        for answer in answers:
            write_answer(self._context.topology, answer)

    def remember(self, peers: Mapping[str, str]) -> None:
        """Store the topology's other hosts in place of the previous ones."""
        notes.write_peers(self._context, peers)

    def confirm(self, token: str) -> None:
        """Note that the host was reached by this connection."""
        notes.confirm(self._context, token)

    def is_confirmed(self, token: str) -> bool:
        """Whether `confirm` has noted it."""
        return notes.is_confirmed(self._context, token)

    def log(self, line: str) -> None:
        """Write a line to the log on the host, for administrators there after a remote controller was lost."""
        if self._run:
            notes.write_log(self._context, f"{self._command}: {line}")

    def forget(self) -> None:
        """Delete the topology's files."""
        notes.remove_all(self._context)

    def read_occupancy(self) -> Occupancy:
        """The process that holds the host's lock."""
        return read_occupancy(self._context)

    def release(self) -> None:
        """Release the lock, and delete its file: the next holder creates another."""
        self._lock.release(remove=True)

    def read(self, interest: Interest) -> Snapshot:
        """Read the host."""
        if self._is_resting:
            self._is_resting = False
            self.enter()
        snapshot = read_snapshot(self._namespaces, interest)
        if self._remembers:
            snapshot = self._last = reuse(self._last, snapshot) if self._last else snapshot
        return snapshot

    def rest(self) -> None:
        """Close all that keeps a namespace alive, and leave that of a lab host, so that its deletion takes effect at once."""
        from reconciler.kernel.engines.engine import close_engines

        self._is_resting = True
        self._host.close()
        close_engines(self._context)
        if self._netns is not None:
            enter(self._context.machine_netns)
        reap_children()
        return_memory()

    def read_settings(self, snapshot: Snapshot, interest: Interest) -> Snapshot:
        """The snapshot with the kernel settings in `interest`."""
        wanted = {netns: keys for netns, keys in interest.sysctls.items() if netns in snapshot.namespaces}
        namespaces = dict(snapshot.namespaces)
        for netns, values in read_sysctls(self._namespaces, wanted).items():
            namespaces[netns] = replace(namespaces[netns], sysctls={**namespaces[netns].sysctls, **values})
        return replace(snapshot, namespaces=namespaces)

    def read_lost_settings(self, snapshot: Snapshot, gone: Sequence[Record], silenced: Collection[InterfaceKey]) -> Snapshot:
        """The snapshot with exactly the kernel settings that are lost: with these records, and IPv6's of silenced interfaces."""
        from reconciler.kernel.settings.interface_settings import read_changed_settings

        found = read_changed_settings(
            self._namespaces, snapshot, (interface for record in gone for interface in record.interfaces)
        )
        for netns, values in read_changed_settings(self._namespaces, snapshot, silenced, families=(6,)).items():
            found[netns] = {**found.get(netns, {}), **values}
        wanted = {record.netns: record.namespace_settings for record in gone if record.namespace_settings}
        wanted = {netns: keys for netns, keys in wanted.items() if netns in snapshot.namespaces}
        for netns, values in read_sysctls(self._namespaces, wanted).items():
            found[netns] = {**found.get(netns, {}), **values}
        namespaces = {netns: replace(info, sysctls=found.get(netns, {})) for netns, info in snapshot.namespaces.items()}
        return replace(snapshot, namespaces=namespaces)

    def read_facts(self, snapshot: Snapshot, interest: Interest) -> HostFacts:
        """The facts of the host for `compile`."""
        from reconciler.kernel.facts.host_facts import read_facts

        return read_facts(self._context, snapshot, interest, exists=self._exists)

    def host(self) -> KernelHost:
        """The executor of batches."""
        return self._host

    def check(self, batches: tuple[Batch, ...]) -> None:
        """Raise HostError if a step is known to fail."""
        from reconciler.kernel.engines.engine import check_containers
        from reconciler.kernel.facts.capabilities import check_link_kinds, check_settings
        from reconciler.kernel.facts.foreign_routes import check_routes, check_uplinks
        from reconciler.kernel.names.resolvers import check_resolvers
        from reconciler.kernel.netfilter.nft import remember_programs
        from reconciler.kernel.processes.commands import check_programs

        steps = [step for batch in batches for step in batch.steps]
        check_link_kinds(steps)
        check_settings(steps)
        check_namespaces(self._namespaces, steps)
        check_routes(self._namespaces, steps)
        check_uplinks(self._namespaces, steps)
        check_containers(self._context, steps)
        check_programs(steps)
        check_resolvers(steps)
        if any(isinstance(step, NetnsAdd) for step in steps):
            remember_programs(self._context.topology)

    def commit(self, *, keep_log: bool = False) -> None:
        """Delete parked containers, logs of deleted containers, and files that a kill left in /run/netns."""
        from reconciler.kernel.engines.engine import remove_parked
        from reconciler.kernel.openvswitch.read import forget_switch
        from reconciler.kernel.processes.logs import remove_stale_logs

        if not self._context.is_lab_world:
            remove_parked(self._context)
            forget_switch(self._context)
        notes.remove_transient(self._context, keep_log=keep_log)
        remove_stale_logs(self._context)
        self._namespaces.remove_stale_files()

    def prober(self) -> Prober:
        """The object that runs probes on this host; it holds the listeners between two requests."""
        from reconciler.probes.run import Prober

        if self._prober is None:
            self._prober = Prober(self._namespaces.path, self._context.topology)
        return self._prober

    def start_trace(self, request: TraceRequest) -> None:
        """Follow packets; HostError if the kernel cannot."""
        from reconciler.kernel.netfilter.trace import Tracer

        self.finish_trace()
        self._flows_traced = self._trace_frames(request)
        self._tracer = self._namespaces.run(HOST, lambda: Tracer(self._context.topology, request))

    def finish_trace(self) -> tuple[TraceEvent, ...]:
        """End the trace; what was seen, and nothing if none runs."""
        tracer, self._tracer = self._tracer, None
        return (*self._namespaces.run(HOST, tracer.finish), *self._flows_traced) if tracer else ()

    def _trace_frames(self, request: TraceRequest) -> tuple[TraceEvent, ...]:
        from reconciler.kernel.openvswitch.openflow import trace_frame

        url = self._context.openvswitch
        return tuple(event for frame in request.frames for event in trace_frame(url, frame)) if request.frames else ()
