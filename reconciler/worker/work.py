"""The work of a worker for each request of `worker.protocol`, in its current state (`worker.states`)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from reconciler.errors import HostError, NetctlError, ProtocolError, SilentError
from reconciler.kernel.snapshot import Interest
from reconciler.kinds import with_strays
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.diff import diff_states, split_exposed
from reconciler.plan.document import HostPlan, LivePlan, fingerprint_of, live_plan
from reconciler.plan.execute import BatchRunner, Failure, Outcome, execute_batches, never
from reconciler.plan.plan import PhasedPlan, compile_plan, plan_changes
from reconciler.plan.rollback import find_repaired, rollback_target
from reconciler.probes.model import Opened, Result
from reconciler.state.host import HostFacts, HostState
from reconciler.state.record import Change
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.worker import protocol
from reconciler.worker.abstract import Machine, SettlingHost
from reconciler.worker.protocol import Event, Phase, Request
from reconciler.worker.readings import Readings
from reconciler.worker.states import Armed, Idle, Kept, Planned, RollingBack, WorkerState
from reconciler.worker.waiting import when_back

A = TypeVar("A")

CONTEST_TRIES = 3
"""The number of times that a container's root may prevent an apply before netctl leaves the container as it is."""
CHECK_TRIES = 5
CHECK_PAUSE_S = 0.1
"""The kernel finishes some changes shortly after the acknowledgement: a namespace's deletion, a port's forwarding state."""

PROGRESS_INTERVAL_S = 0.05


class Work:
    """The data of one worker between requests: the last reading, the plan, and the finished steps."""

    def __init__(self, machine: Machine, emit: Callable[[Event], None], cancelled: Callable[[], bool]) -> None:
        """`emit` sends an event; `cancelled` says whether the controller has asked to stop."""
        self._machine = machine
        self._emit = emit
        self._cancelled = cancelled
        self._interest = Interest()
        self._desired = HostState({})
        self._plan = PhasedPlan()
        self._current = PhasedPlan()
        """The plan that is executed: the worker's, or after a conflict with a container's root, one from the new state."""
        self._contests: Counter[str] = Counter()
        """The number of such conflicts, by container."""
        self._state: WorkerState = Idle()
        self._repaired: tuple[Change, ...] = ()
        """The damages that a rollback does not restore."""
        self._asked = self._desired
        """The desired state of the last request for a plan."""
        self._readings = Readings(machine)
        self._seen: Snapshot | None = None
        """The last reading, unless a plan has used it."""

        self._handlers: Mapping[type[Request[Any]], Callable[[Any], Any]] = {
            protocol.Lock: lambda request: machine.lock(brief=request.brief),
            protocol.ReadOccupancy: lambda _: machine.read_occupancy(),
            protocol.Read: self._read,
            protocol.Plan: self._make_plan,
            protocol.Prepare: lambda _: machine.check(self._plan.remove + self._plan.make),
            protocol.Arm: self._arm,
            protocol.Apply: self._apply,
            protocol.Check: self._check,
            protocol.Repair: self._repair,
            protocol.Confirm: lambda request: machine.confirm(request.token),
            protocol.Keep: self._keep,
            protocol.Rollback: self._rollback,
            protocol.RollbackTo: self._rollback_to,
            protocol.Commit: self._commit,
            protocol.Remember: lambda request: machine.remember(request.peers),
            protocol.Forget: lambda _: machine.forget(),
            protocol.Count: lambda request: machine.count_connections(request.addresses),
            protocol.ReadTraffic: lambda _: machine.read_traffic(),
            protocol.AnswerStarts: lambda request: machine.answer_starts(request.answers),
            protocol.OpenListeners: self._listen,
            protocol.RunProbes: self._probe,
            protocol.StartTrace: lambda request: machine.start_trace(request.trace),
            protocol.FinishTrace: lambda _: machine.finish_trace(),
            protocol.CloseListeners: lambda _: machine.prober().stop(),
            protocol.Release: lambda _: machine.release(),
            protocol.Rest: self._rest,
        }

    def answer(self, request: Request[A]) -> A:
        """The answer to a request; NetctlError if it fails, ProtocolError if the request is not allowed in this state."""
        handler = self._handlers.get(type(request))
        if handler is None or not isinstance(self._state, request.states):
            raise ProtocolError(f"cannot take the request `{request.verb()}`: {self._state.words}")
        answer: A = handler(request)
        return answer

    def _read(self, request: protocol.Read) -> HostFacts:
        self._interest = Interest(engines=request.engines, members=request.members, openvswitch=request.openvswitch)
        snapshot = self._machine.read(self._interest)
        facts = self._machine.read_facts(snapshot, self._interest)
        self._readings.recognise(snapshot)  # the controller compiles now, so this costs no elapsed time
        self._seen = snapshot
        return facts

    def _make_plan(self, request: protocol.Plan) -> LivePlan:
        if not request.is_change:
            self._asked = request.desired
        elif request.desired.records or request.gone:
            self._asked = self._asked.with_changes(request.desired, request.gone)
        self._desired = self._asked
        self._interest = replace(self._interest, sysctls=_sysctl_keys(self._desired.records))
        # The last reading lacks only settings that the topology was not known to need. It is used once.
        seen, self._seen = self._seen, None
        live, changes = self._compare(seen or self._machine.read(self._interest))
        self._state = Planned(live)
        self._follow(plan_changes(changes))
        return live_plan(self._describe(request.host, fingerprint_of(live) if request.document else ""))

    def _compare(self, snapshot: Snapshot) -> tuple[HostState, tuple[Change, ...]]:
        """The live state and the changes. A container may have ended since the reading: then the host is read once more."""
        try:
            return self._readings.compare(snapshot, self._desired, self._interest.sysctls)
        except SilentError:
            raise
        except HostError:
            again = self._machine.read(self._interest)
            return self._readings.compare(again, self._desired, self._interest.sysctls)

    def _follow(self, plan: PhasedPlan) -> None:
        self._plan = self._current = plan
        self._contests.clear()

    def _apply(self, request: protocol.Apply) -> Outcome:
        return self._carry_out(request.phase)

    def _carry_out(self, phase: Phase) -> Outcome:
        self._machine.enter()
        host = self._machine.host()
        phases, progress = (phase,), _Progress(self._emit)
        outcome = self._execute(host, phases, progress)
        while outcome.failure and self._note_contest(outcome.failure):
            progress.begin_again()
            outcome = self._execute(host, ("remove", "make") if "make" in phases else phases, progress)
        return self._settle(host, outcome) if phase == "make" and not outcome.failure else outcome

    def _execute(self, host: BatchRunner, phases: tuple[Phase, ...], progress: _Progress) -> Outcome:
        steps = {"remove": self._current.remove, "make": self._current.make}
        batches = tuple(batch for phase in phases for batch in steps[phase])
        return execute_batches(host, batches, progress, self._cancellation)

    @property
    def _cancellation(self) -> Callable[[], bool]:
        """False during a rollback: a cancellation leads to one, so a rollback is not cancelled in turn."""
        return never if isinstance(self._state, RollingBack) else self._cancelled

    def _note_contest(self, failure: Failure) -> bool:
        """Whether a container's root may have caused the failure in its own namespace: then the worker tries again.

        It reads the host and plans again. After some failures by the same container, its records stay as they are: a
        container must not prevent changes for others. The stored plan stays unchanged, for a rollback.
        """
        by_ref = {change.ref: change for change in self._current.changes}
        change = by_ref.get(failure.ref) if failure.ref and failure.refused else None
        if change is None or not change.exposed_to:
            return False
        self._contests[change.exposed_to] += 1
        given_up = {container for container, count in self._contests.items() if count >= CONTEST_TRIES}
        changes = diff_states(self._live(), self._desired)
        self._current = plan_changes(split_exposed(changes, given_up)[0])
        return True

    def _settle(self, host: SettlingHost, outcome: Outcome) -> Outcome:
        try:
            host.settle(self._tell_waiting, self._cancellation)
        except HostError as error:
            return replace(outcome, failure=Failure(None, error.message))
        return outcome

    def _tell_waiting(self, bridge: str, seconds: float) -> None:
        self._emit(protocol.Waiting(bridge=bridge, seconds=round(seconds)))

    def _check(self, _: protocol.Check) -> tuple[Change, ...]:
        return self._read_remaining()

    def _read_remaining(self) -> tuple[Change, ...]:
        """The changes that the desired state still needs; the kernel gets a moment."""
        remaining: tuple[Change, ...] = ()
        for attempt in range(CHECK_TRIES):
            if attempt:
                time.sleep(CHECK_PAUSE_S)
            remaining = diff_states(self._live(), self._desired)
            if not remaining:
                break
        return (*remaining, *self._repaired)

    def _repair(self, request: protocol.Repair) -> HostPlan:
        self._follow(compile_plan(self._live(), self._desired))
        return self._describe(request.host, "")

    def _arm(self, request: protocol.Arm) -> None:
        if isinstance(self._state, Planned):
            self._state = Armed(self._state.before, request.token)

    def _keep(self, _: protocol.Keep) -> None:
        if isinstance(self._state, Armed):
            if not self._machine.is_confirmed(self._state.token):
                raise ProtocolError("cannot keep the change: no new connection has confirmed that the host can be reached")
            self._state = Kept(self._state.before)

    def _commit(self, _: protocol.Commit) -> None:
        keep_log = isinstance(self._state, RollingBack)
        self._state = Idle()
        self._machine.commit(keep_log=keep_log)

    def _rollback(self, request: protocol.Rollback) -> HostPlan:
        match self._state:
            case Planned(before):
                self._turn_back(RollingBack(before, armed=False))
            case Armed(before) | Kept(before):
                self._turn_back(RollingBack(before, armed=True))
            case RollingBack() as state:
                self._turn_back(state)
        return self._describe(request.host, "")

    def _rollback_to(self, request: protocol.RollbackTo) -> HostPlan:
        self._machine.log("the controller rolls this host back over a new connection")
        self._state = state = RollingBack(request.before, armed=True)
        self._turn_back(state)
        return self._describe(request.host, "")

    def _turn_back(self, state: RollingBack) -> None:
        """Replace the plan by the rollback to the state before."""
        before = state.before
        self._interest = replace(self._interest, sysctls=_sysctl_keys({**self._desired.records, **before.records}))
        snapshot = when_back(lambda: self._machine.read(self._interest))
        live = self._readings.recognise(snapshot).result()
        self._desired = rollback_target(before, live)
        self._repaired = find_repaired(before, self._desired)
        # What conflicted with the plan's target may be a part of the target of the rollback, such as a link `eth0`.
        self._follow(compile_plan(with_strays(live, snapshot, self._desired), self._desired))
        self._state = state

    def end(self) -> None:
        """The controller has ended, and left uncommitted changes. NetctlError if the end fails."""
        match self._state:
            case Idle() | Planned() | RollingBack(armed=False):
                pass
            case Kept():
                self._machine.log("lost the controller at the end of an apply; keeping the change")
                self._machine.commit(keep_log=True)
            case Armed(before) | RollingBack(before, armed=True):
                self._restore(before)

    def _restore(self, before: HostState) -> None:
        """Roll back to the state before, without a controller."""
        self._emit = lambda _: None
        self._machine.log("lost the controller during an apply; rolling back")
        self._machine.enter()
        self._turn_back(RollingBack(before, armed=True))
        phases: tuple[Phase, ...] = ("remove", "make")
        for phase in phases:
            outcome = self._carry_out(phase)
            if outcome.failure:
                raise NetctlError(f"{outcome.failure.ref or ''} {outcome.failure.message}".strip())
        remaining, _ = split_exposed(self._read_remaining())
        if remaining:
            raise NetctlError("; ".join(f"{change.ref}: {change.reason}" for change in remaining[:5]))
        self._machine.commit(keep_log=True)
        self._machine.log("rolled back")

    def _rest(self, _: protocol.Rest) -> None:
        self._state, self._seen = Idle(), None
        self._readings.rest()
        self._machine.rest()

    def _listen(self, request: protocol.OpenListeners) -> Opened:
        return self._machine.prober().start_listeners(request.listeners)

    def _probe(self, request: protocol.RunProbes) -> tuple[Result, ...]:
        return self._machine.prober().run_clients(request.probes, request.opened)

    def _live(self) -> HostState:
        snapshot = self._machine.read(self._interest)
        return with_strays(self._readings.recognise(snapshot).result(), snapshot, self._desired)

    def _describe(self, host: str, fingerprint: str) -> HostPlan:
        return HostPlan(host, fingerprint, self._plan.step_count, self._plan.changes)


class _Progress:
    """Sends progress, but not more often than users can see. The numbers rise, even if steps are planned a second time."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._next_s = 0.0
        self._before = self._sent = self._done = 0

    def begin_again(self) -> None:
        """Start with another plan; its steps continue the count."""
        self._before = self._done

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        self._done = self._before + done
        if self._done > self._sent and (now_s >= self._next_s or done == total):
            self._next_s, self._sent = now_s + PROGRESS_INTERVAL_S, self._done
            self._emit(protocol.Progress(done=self._done, total=self._before + total))


def _sysctl_keys(refs: Iterable[Ref]) -> dict[str, tuple[str, ...]]:
    """The kernel settings among these, which must be read for the comparison."""
    keys: dict[str, list[str]] = {}
    for ref in refs:
        if ref.kind == Sysctl.kind:
            keys.setdefault(ref.netns, []).append(ref.name)
    return {netns: tuple(names) for netns, names in keys.items()}
