"""The machine as the work of a worker sees it; `worker.machine` implements it with `kernel/`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from reconciler.kernel.snapshot import Interest
from reconciler.plan.execute import BatchRunner
from reconciler.plan.order import Batch
from reconciler.state.host import HostFacts, Occupancy
from reconciler.state.record import InterfaceKey, Record
from reconciler.state.snapshot import Snapshot
from reconciler.state.starts import StartAnswer
from reconciler.state.trace import TraceEvent, TraceRequest
from reconciler.state.traffic import TrafficCount

if TYPE_CHECKING:
    from reconciler.probes.run import Prober


class SettlingHost(BatchRunner, Protocol):
    """A host that can also wait until its new links pass packets."""

    def settle(self, waiting: Callable[[str, float], None], cancelled: Callable[[], bool]) -> None:
        """Return when they do; HostError if that takes too long. `waiting` gets the bridge and the seconds of its STP."""


class Machine(Protocol):
    """The host as its worker sees it; `worker.machine` implements it with `kernel/`."""

    def enter(self) -> None:
        """Enter the host's namespace; an empty one without a name if it does not exist."""

    def lock(self, *, brief: bool) -> None:
        """Take the host's lock, or raise LockedError. A `brief` holder is an agent."""

    def read_occupancy(self) -> Occupancy:
        """The process that holds the host's lock."""

    def release(self) -> None:
        """Release the lock, if it is held, and delete its file."""

    def read(self, interest: Interest) -> Snapshot:
        """Read the host."""

    def read_settings(self, snapshot: Snapshot, interest: Interest) -> Snapshot:
        """The snapshot with the kernel settings in `interest`."""

    def read_lost_settings(self, snapshot: Snapshot, gone: Sequence[Record], silenced: Collection[InterfaceKey]) -> Snapshot:
        """The snapshot with the kernel settings that are lost with these records, and with IPv6 on the silenced interfaces."""

    def read_facts(self, snapshot: Snapshot, interest: Interest) -> HostFacts:
        """The facts of the host for `compile`."""

    def host(self) -> SettlingHost:
        """The executor of batches, in the current namespace."""

    def check(self, batches: tuple[Batch, ...]) -> None:
        """Raise HostError if a step is known to fail: a missing image, a kernel without a feature."""

    def commit(self, *, keep_log: bool = False) -> None:
        """Delete what was kept for a rollback, and unless `keep_log`, the log of an earlier one."""

    def rest(self) -> None:
        """Hold no namespace until the next reading; the controller stays, and will read again."""

    def prober(self) -> Prober:
        """The object that runs probes; always the same one."""

    def count_connections(self, addresses: Sequence[str]) -> Mapping[str, int]:
        """The number of entries in connection tracking that each address opened."""

    def read_traffic(self) -> tuple[TrafficCount, ...]:
        """What the firewall has counted."""

    def answer_starts(self, answers: Sequence[StartAnswer]) -> None:
        """Answer containers that wait for their network."""

    def start_trace(self, request: TraceRequest) -> None:
        """Follow packets; HostError if the kernel cannot."""

    def finish_trace(self) -> tuple[TraceEvent, ...]:
        """End the trace; what was seen, and nothing if none runs."""

    def remember(self, peers: Mapping[str, str]) -> None:
        """Store the topology's other hosts."""

    def confirm(self, token: str) -> None:
        """Note that the host was reached by this connection."""

    def is_confirmed(self, token: str) -> bool:
        """Whether `confirm` has noted it."""

    def log(self, line: str) -> None:
        """Write a line to the log on the host."""

    def forget(self) -> None:
        """Delete the topology's files."""
