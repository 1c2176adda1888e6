"""The loop of an agent: waits for hints, and runs a cycle when one is due. Nothing is ever derived from an event."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.agent.contest import Contests
from reconciler.agent.cycle import CycleResult, Keeper, count_repairs
from reconciler.agent.log import Log, now
from reconciler.agent.questions import Desk
from reconciler.agent.sources import find_sources
from reconciler.agent.state import AgentState, HostLocks, read_pause
from reconciler.agent.timing import Schedule
from reconciler.agent.withhold import find_roots
from reconciler.errors import LockedError, NetctlError, UsageError, translating
from reconciler.fleet.rollout import StepFailedError
from reconciler.fleet.side_by_side import StoppedError
from reconciler.fleet.target import Target
from reconciler.kernel.events.commands import ProcessEvents
from reconciler.kernel.events.hints import Hints
from reconciler.kernel.events.netlink import read_own_name
from reconciler.kernel.events.signals import SignalEvents
from reconciler.kernel.events.source import Cause, Opener
from reconciler.kernel.processes.followed import find_processes
from reconciler.kernel.processes.service_manager import ServiceManager
from reconciler.kernel.run_directory.agent_socket import socket_path
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.names.resolver import Resolver
from reconciler.kinds.process import Process
from reconciler.state.host import HostState
from reconciler.state.ref import LAB
from reconciler.state.starts import Word
from reconciler.topology.types import Topology

if TYPE_CHECKING:
    from reconciler.agent.metrics import Metrics

STOPS = (signal.SIGTERM, signal.SIGINT)
PAUSE_POLL_S = 1.0
"""How late the end of a pause may be noticed."""
STARTS: Mapping[Word, str] = {
    "wired": "it has its network",
    "other": "it is none of the topology",
    "refused": "it cannot, because ",
}
"""What the log says of an answer to a container that waits for its network."""
SHOWN_MAX = 5
"""Of what is contested, so much is named."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: the topology, the hosts that the agent is to hold, and the SHA-256 of its content."""

    topology: Topology
    targets: tuple[Target, ...]
    digest: str


Load = Callable[[], Loaded]
"""Reads the file. UsageError if it cannot be used."""


class _Silence:
    """The progress of an apply, of which nothing is shown; the service manager learns from it that the agent lives."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat

    def update(self, _host: str, _phase: str, _done: int, _total: int) -> None:
        self._beat()

    def wait(self, _host: str, _bridge: str, _seconds: int) -> None:
        self._beat()


# Without a repr: signal.signal makes one of each handler, and a handler here is a method of the agent (enum.Enum.__new__).
@dataclass(slots=True, repr=False)
class Agent:
    """One agent, from its start to the signal that ends it."""

    load: Load
    command: str
    log: Log
    locks: HostLocks
    keeper: Keeper
    state: AgentState
    manager: ServiceManager
    desk: Desk
    clock: Callable[[], float] = time.monotonic
    hints: Hints = field(default_factory=Hints)
    contests: Contests = field(default_factory=Contests)
    commands: ProcessEvents = field(default_factory=ProcessEvents)
    signals: SignalEvents = field(default_factory=SignalEvents)
    schedule: Schedule = field(default_factory=Schedule)
    metrics: Metrics | None = None
    causes: set[str] = field(default_factory=set)
    """Of the hints since the last reading."""
    beat_s: float = 0.0
    desired: Mapping[str, HostState] = field(default_factory=dict)
    """By host, what the last cycle was for."""
    generation: int = 0
    programs: set[str] = field(default_factory=set)
    """Those that made changes before this cycle."""
    own_name: str = field(default_factory=read_own_name)
    """The agent's workers have it, too."""
    is_stopping: bool = False
    is_ready: bool = False
    reload: bool = False

    # --- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Hold the hosts until a signal asks for the end; the network stays as it is."""
        self.keeper.withheld = lambda host: self.contests.withheld(host, self.clock())
        self.keeper.is_paused = lambda: read_pause(self.keeper.topology.name) is not None
        self.keeper.must_stop = lambda: self.is_stopping
        with self._handling_signals():
            try:
                self._listen()
                self._follow_pause()
                while not self.is_stopping:
                    self._beat()
                    self._wait()
                    if not (self.is_stopping or self.state.paused) and self.schedule.due_s <= self.clock():
                        self._cycle()
            except StoppedError:
                pass
            finally:
                self.manager.notify("STOPPING=1")
                self.keeper.end_workers()
                self.hints.close()
                if self.metrics:
                    self.metrics.close()
                self.locks.release()

    def _wait(self) -> None:
        """Until something is due, or there is a hint."""
        until_s = self.clock() + PAUSE_POLL_S if self.state.paused else self.schedule.due_s
        causes = self.hints.wait(min(until_s, self.beat_s) if self.manager.watchdog_s else until_s)
        self._note(causes - {Cause.QUESTION})
        if Cause.QUESTION in causes and not self.is_stopping:
            self._answer()

    def _answer(self) -> None:
        """Answer the questions of commands: what they see differ is repaired afterwards."""
        is_open = not (self.state.paused or self.state.error or self.reload)
        self.desk.answer_all(self.keeper, is_open=is_open)

    def _note(self, causes: set[Cause]) -> None:
        """Remember the hints; what signals and the file of a pause say is followed at once."""
        received = self.signals.take()
        if received & set(STOPS):
            self.is_stopping = True
        if signal.SIGHUP in received:
            self.reload = True
            self.schedule.read_all(self.clock())
            self.log.note("signal", "reads everything again (SIGHUP)")
        if Cause.FILE in causes:
            self.reload = True
        if Cause.CONTROL in causes or self.state.paused:
            self._follow_pause()
        if found := causes - {Cause.CONTROL}:
            self.causes |= {str(cause) for cause in found}
            self.schedule.hinted(self.clock(), is_news=bool(causes & {Cause.ENGINE, Cause.FILE}))
        if Cause.START in causes:
            self.schedule.read_now(self.clock())

    def _follow_pause(self) -> None:
        pause = read_pause(self.keeper.topology.name)
        why = pause.why if pause else ""
        if why != self.state.paused:
            self.keeper.end_workers()
            self.log.note("pause" if why else "resume", f"paused: {why}" if why else "goes on")
            self._write(replace(self.state, paused=why))
            self.schedule.read_all(self.clock())

    # --- one cycle ----------------------------------------------------------------------------------------------------

    def _cycle(self) -> None:
        """Read, repair, and follow what came of it."""
        begun_s = self.clock()
        is_full = begun_s >= self.schedule.full_s
        # What came until here is covered by the reading; what comes from here on is an event of a source that is open.
        self._listen(renew=is_full or not self.state.in_step)
        self._note(self.hints.drain() - {Cause.QUESTION})
        self.programs = self.hints.take_programs() - {self.own_name}
        causes, self.causes = sorted(self.causes) or ["reading"], set()
        self.schedule.begin(begun_s, random.random())  # noqa: S311  no secret
        result, outcome = "in_step", None
        is_failing = self.contests.is_failing(begun_s)  # what is left alone in this cycle, even if its pause ends meanwhile
        try:
            with translating(), self.keeper.reading_ahead():
                self._reload()
                if is_full:
                    self._read_beside()
                outcome = self.keeper.cycle(_Silence(self._beat_soon))
        except LockedError as error:
            result = "locked"
            self._give_way(error)
        except NetctlError as error:
            result = "failed"
            self._fail(error)
        else:
            result = "in_step" if outcome.is_in_step else "repaired"
            self._succeed(outcome, causes, is_full=is_full, is_failing=is_failing, elapsed_s=self.clock() - begun_s)
            if outcome.error:
                self._fail(outcome.error)
        self.schedule.contest_s = self.contests.next_s(self.clock())
        if self.metrics:
            self.metrics.count(self.keeper.topology, result, self.clock() - begun_s, outcome)
            self.metrics.publish(self.keeper.topology, self.state, len(self.contests.contested), self.desired)

    def _reload(self) -> None:
        """Read the file again if it may be another one. A file that is wrong is reported, and the last good one stays."""
        if not self.reload:
            return
        self.reload = False
        try:
            loaded = self.load()
            topology, targets = loaded.topology, loaded.targets
            _check_name(topology, self.keeper.topology)
            added = {target.host for target in targets} - {target.host for target in self.keeper.targets} - {LAB}
            self.locks.take(sorted(added))
        except NetctlError as error:
            self.log.fail("file", error)
            self._write(replace(self.state, error=f"the file is not used: {error.message}"))
            return
        self.desk.digest = loaded.digest
        if topology == self.keeper.topology and targets == self.keeper.targets:
            if self.state.error:
                self._write(replace(self.state, error=""))
            return
        self.log.note("file", f"follows {topology.path}")
        self.keeper.follow(topology, targets)
        self._read_beside()
        self._write(replace(self.state, error="", hosts=names_of(targets), in_step=False))

    def _read_beside(self) -> None:
        errors = self.keeper.read_beside()
        for host, error in errors.items():
            self.log.note("unreachable", f"{host} is left out: its live addresses are not known ({error.message})")

    def _give_way(self, error: NetctlError) -> None:
        if not self.schedule.give_way.failures:
            self.log.note("locked", f"waits: {error.message}")
        self.schedule.locked(self.clock())

    def _fail(self, error: NetctlError) -> None:
        self._take_signals()
        if self.is_stopping:
            return
        text = error.message
        if text != self.state.error:
            self.log.fail("failed", error)
        self.schedule.failed(self.clock())
        if isinstance(error, StepFailedError) and error.ref:
            self.contests.set_aside((error.host, error.ref), self.clock())  # the rest goes on without it
        self._write(replace(self.state, error=text, in_step=False))

    def _succeed(self, outcome: CycleResult, causes: list[str], *, is_full: bool, is_failing: bool, elapsed_s: float) -> None:
        state = replace(self.state, waiting=outcome.awaited, in_step=outcome.is_in_step)
        if state.error and not (is_failing or state.error.startswith("the file")):
            state = replace(state, error="")
        for name in sorted(set(outcome.awaited) - set(self.state.waiting)):
            self.log.note("waiting", f"waits for container {name}, which does not run")
        if outcome.repaired:
            self.log.repaired(outcome.repaired, causes, elapsed_s)
            state = self._count(outcome, state)
            self.schedule.repaired(self.clock())
        else:
            self.schedule.found_nothing(self.clock(), is_full=is_full)
        for answer in (one for found in outcome.answers.values() for one in found):
            self.log.note("start", f"{answer.start.engine_name} starts: {STARTS[answer.word]}{answer.reason}")
        self.desired = outcome.desired
        self.contests.forget(self.clock())
        self._write(replace(state, contested=self._contested()))
        if outcome.is_in_step:
            self._follow_commands(outcome)
        if outcome.is_partial:
            self.schedule.await_engine(self.clock())
        elif outcome.is_in_step and not (is_failing or outcome.error):
            self._be_ready()

    def _count(self, outcome: CycleResult, state: AgentState) -> AgentState:
        """Note what was repaired, and what is contested from here on."""
        things = count_repairs(outcome.repaired, self.desired)
        programs = tuple(sorted(self.programs))
        for host, ref in self.contests.note(things, self.clock(), programs):
            by = f" by {', '.join(programs)}" if programs else ""
            self.log.note("contested", f"contested: {host}: {ref} was changed again and again{by}; it is left alone for a while")
        last = next(root.record for found in outcome.repaired.values() for root in find_roots(found))
        count = sum(map(len, outcome.repaired.values()))
        text = f"{last.subject}: {last.describe()}" + (f", and {count - 1:,} more" if count > 1 else "")
        return replace(state, repairs=state.repairs + count, last_repair=text, last_repair_at=now())

    def _contested(self) -> tuple[str, ...]:
        named = self.contests.describe()
        return (*named[:SHOWN_MAX], *([f"and {len(named) - SHOWN_MAX} more"] if len(named) > SHOWN_MAX else []))

    def _be_ready(self) -> None:
        if not self.is_ready:
            self.is_ready = True
            self.log.note("ready", "ready")
            self.manager.notify("READY=1", "STATUS=in step")

    def _follow_commands(self, outcome: CycleResult) -> None:
        """Wait for the end of each command, DHCP client and name server. One that ended since the reading is a hint."""
        records = [record for state in outcome.desired.values() for record in state.records.values()]
        wanted = {record.ref for record in records if isinstance(record, Process | Dhcp | Resolver)}
        running = find_processes(self.keeper.topology.name, {ref.kind for ref in wanted})
        ended = self.commands.follow(pid for ref, pid in running if ref in wanted)
        withheld = any(ref.kind in (Process.kind, Dhcp.kind, Resolver.kind) for _, ref in self.contests.contested)
        if ended or (not withheld and not wanted <= {ref for ref, _ in running}):
            self.causes.add(str(Cause.COMMAND))
            self.schedule.hinted(self.clock())

    # --- edges --------------------------------------------------------------------------------------------------------

    def _listen(self, *, renew: bool = False) -> None:
        """Have the events of what is there now."""
        self.generation += renew
        sources: dict[Hashable, tuple[Cause, Opener]] = {
            "signals": (Cause.CONTROL, lambda: self.signals),
            "commands": (Cause.COMMAND, lambda: self.commands),
        }
        if not {*self.keeper.topology.hosts} - {target.host for target in self.keeper.targets}:
            path = socket_path(self.keeper.topology.name)  # one agent holds all hosts, so the socket is its own
            sources["questions", path] = Cause.QUESTION, lambda: self.desk.open(path)
        self.hints.want(sources | find_sources(self.keeper.topology, self.keeper.targets, self.desired, self.generation))

    def _write(self, state: AgentState) -> None:
        if state != self.state:
            self.state = state
            self.locks.write(state)

    def _beat(self) -> None:
        """Tell the service manager that the loop runs."""
        if self.manager.watchdog_s:
            self.manager.notify("WATCHDOG=1")
            self.beat_s = self.clock() + self.manager.watchdog_s

    def _beat_soon(self) -> None:
        if self.manager.watchdog_s and self.clock() >= self.beat_s:
            self._beat()

    def _take_signals(self) -> None:
        self._note(set())

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        numbers = (*STOPS, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        if number in STOPS:  # the others are followed between two cycles
            self.is_stopping = True


def _check_name(topology: Topology, held: Topology) -> None:
    if topology.name != held.name:
        raise UsageError(f"the file is of another topology now: {topology.name}", "start an agent of its own for it")


def names_of(targets: tuple[Target, ...]) -> tuple[str, ...]:
    """The hosts that the agent holds, without the lab that they stand in."""
    return tuple(target.host for target in targets if target.host != LAB)
