"""What a worker does for each request: one method for each verb of the protocol.

Called by `worker.__main__` with what comes in. The verbs, in the order of an apply:

    lock      {} → nothing; the host's lock is held until `release`, or the worker's end
    occupancy {} → Occupancy: who is at work on the host; asked after a reading without a lock, for `hello` told it before
    read      {engines, openvswitch} → HostFacts
    plan      {host, desired, document} → PlanAnswer (`plan.document`): what is live of what changes; the plan is kept
    prepare   {} → nothing, or the error that an apply is known to end with
    arm       {token} → nothing; from here on a lost controller means that the worker takes back what was done (`remote`)
    confirm   {token} → nothing; asked of a second worker, which shows that the host can still be reached by a new connection
    keep      {} → nothing; from here on a lost controller means that what was done stays. Refused where nobody has confirmed
    apply     {phase: remove | make} → Outcome of that phase, with events {"event": "progress", "done", "total"}, and
              {"event": "waiting", "bridge", "seconds"} for a bridge whose STP holds new ports back so long
    check     {} → the changes that are still needed; none after a good apply
    mend      {host} → HostPlan of what `check` has found, which takes the plan's place: `apply` then carries it out
    rollback  {host, before} → HostPlan of the way back, which takes the plan's place: `apply` then carries it out. `before`
              is what the host was if another worker made the plan, None otherwise
    commit    {} → nothing; what was kept for a rollback is let go. Refused where the worker is armed and was not told to keep it
    remember  {peers} → nothing; the topology's other hosts are remembered here
    forget    {} → nothing; no file of the topology is left here
    count     {addresses} → how many entries of connection tracking each of them has begun
    listen    {listeners} → Opened;  probe {probes, opened} → Results;  unlisten {} → nothing: see `probes.run`
    release   {} → nothing; the lock is let go
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import HostError, NetctlError
from reconciler.kernel.snapshot import Interest
from reconciler.kinds import recognise_all, with_strays
from reconciler.kinds.sysctl import Sysctl
from reconciler.plan.diff import diff_states, is_gone, split_exposed
from reconciler.plan.document import CODEC, HostPlan, encode_plan, fingerprint_of
from reconciler.plan.execute import BatchRunner, Failure, Outcome, execute_batches, never
from reconciler.plan.order import Batch
from reconciler.plan.plan import Plan, compile_plan, plan_changes
from reconciler.plan.rollback import find_repaired, rollback_target
from reconciler.probes.model import Listener, Opened, Probe
from reconciler.state.host import HostFacts, HostState, Occupancy
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.worker.channel import Message
from reconciler.worker.waiting import when_back

if TYPE_CHECKING:
    from reconciler.probes.run import Prober

CONTEST_TRIES = 3
"""How often a container's root may be in the way of an apply before its container is left as it is."""
CHECK_TRIES = 5
CHECK_PAUSE_S = 0.1
"""The kernel finishes some things a moment after it has acknowledged them: a namespace going, a port forwarding."""

PROGRESS_INTERVAL_S = 0.05


class SettlingHost(BatchRunner, Protocol):
    """A host that can also say when what was wired passes packets."""

    def settle(self, waiting: Callable[[str, float], None], cancelled: Callable[[], bool]) -> None:
        """Return then; HostError where that takes too long. `waiting` is told of a bridge whose STP takes so many seconds."""


class Machine(Protocol):
    """The host as a worker sees it; `worker.machine` makes it of `kernel/`."""

    def enter(self) -> None:
        """Be in the host's namespace; in an empty one of no name where it is not there."""

    def lock(self) -> None:
        """Take the host's lock, or LockedError."""

    def read_occupancy(self) -> Occupancy:
        """Who is at work on the host."""

    def release(self) -> None:
        """Let go of the lock, where it is held, and leave no file of it."""

    def read(self, interest: Interest) -> Snapshot:
        """Read the host."""

    def read_settings(self, snapshot: Snapshot, interest: Interest) -> Snapshot:
        """The snapshot with the kernel settings that `interest` names."""

    def read_lost_settings(self, snapshot: Snapshot, gone: Sequence[Record]) -> Snapshot:
        """The snapshot with the kernel settings that are lost with these records."""

    def read_facts(self, snapshot: Snapshot, interest: Interest) -> HostFacts:
        """What `compile` needs to know of it."""

    def host(self) -> SettlingHost:
        """What carries out batches, in the namespace that is entered now."""

    def check(self, batches: tuple[Batch, ...]) -> None:
        """HostError where some step is known to fail: an image that is missing, a kernel without a feature."""

    def commit(self, *, keep_log: bool = False) -> None:
        """Remove what was kept for a rollback, and unless `keep_log`, the log of an earlier one."""

    def prober(self) -> Prober:
        """What runs probes; always the same one."""

    def count_connections(self, addresses: Sequence[str]) -> Mapping[str, int]:
        """How many entries of connection tracking each address has begun."""

    def remember(self, peers: Mapping[str, str]) -> None:
        """Remember the topology's other hosts."""

    def confirm(self, token: str) -> None:
        """Note that the host was reached by this connection."""

    def is_confirmed(self, token: str) -> bool:
        """Whether that was noted."""

    def log(self, line: str) -> None:
        """A line in the log that stays on the host."""

    def forget(self) -> None:
        """Remove the topology's files."""


class Work:
    """The state of one worker between requests: what was read, planned and done."""

    def __init__(self, machine: Machine, emit: Callable[[Message], None], cancelled: Callable[[], bool]) -> None:
        """`emit` sends an event; `cancelled` says whether the controller has asked to stop."""
        self._machine = machine
        self._emit = emit
        self._cancelled = cancelled
        self._interest = Interest()
        self._desired = HostState({})
        self._plan = Plan()
        self._way = Plan()
        """What is carried out: the plan, or where a container's root was in its way, what leads to the same from there."""
        self._contests: Counter[str] = Counter()
        """How often that was so, by container."""
        self._rolling_back = False
        self._token = ""
        self._before = HostState({})
        """What was live when the plan was made."""
        self._repaired: tuple[Change, ...] = ()
        """What a rollback has left whole that was damaged before."""
        self._undo: HostState | None = None
        """What is restored where the controller is lost; None where it has not begun, or has committed."""
        self._keeping = False
        """Whether it is kept instead."""
        self._pool = ThreadPoolExecutor(1)
        self._seen: tuple[Snapshot, Future[HostState]] | None = None
        """What was read last, and not used for a plan yet."""

    def answer(self, request: Message) -> Any:
        """The answer to a request, in JSON; NetctlError where it fails."""
        verbs: dict[str, Callable[[Message], Any]] = {
            "lock": lambda _: self._machine.lock(),
            "occupancy": lambda _: CODEC.encode(self._machine.read_occupancy()),
            "read": self._read,
            "plan": self._make_plan,
            "apply": self._apply,
            "check": self._check,
            "mend": self._mend,
            "rollback": self._rollback,
            "prepare": lambda _: self._machine.check(self._plan.remove + self._plan.make),
            "arm": self._arm,
            "confirm": lambda request: self._machine.confirm(request["token"]),
            "keep": self._keep,
            "commit": self._commit,
            "remember": lambda request: self._machine.remember(request["peers"]),
            "forget": lambda _: self._machine.forget(),
            "count": lambda request: self._machine.count_connections(request["addresses"]),
            "listen": self._listen,
            "probe": self._probe,
            "unlisten": lambda _: self._machine.prober().stop(),
            "release": lambda _: self._machine.release(),
        }
        verb = verbs.get(request["verb"])
        if verb is None:
            raise NetctlError(f"the worker knows no verb {request['verb']!r}")
        return verb(request)

    def _read(self, request: Message) -> Any:
        self._interest = Interest(engines=request["engines"], openvswitch=request.get("openvswitch", False))
        snapshot = self._machine.read(self._interest)
        facts = CODEC.encode(self._machine.read_facts(snapshot, self._interest))
        # The controller compiles now, so this costs no time on the clock.
        self._seen = snapshot, self._pool.submit(recognise_all, snapshot)
        return facts

    def _make_plan(self, request: Message) -> Any:
        self._desired = CODEC.decode(HostState, request["desired"])
        self._interest = replace(self._interest, sysctls=_sysctl_keys(self._desired.records))
        # What was read a moment ago lacks only the settings that nobody knew the topology to want. It serves once.
        seen, self._seen = self._seen, None
        snapshot = seen[0] if seen else self._machine.read(self._interest)
        live = self._with_settings(seen[1].result() if seen else recognise_all(snapshot), snapshot, self._interest.sysctls)
        live = with_strays(live, snapshot, self._desired)
        live, changes = self._with_lost_settings(live, snapshot)
        self._before = live
        self._follow(plan_changes(changes))
        self._rolling_back = False
        return encode_plan(self._describe(request["host"], fingerprint_of(live) if request["document"] else ""))

    def _follow(self, plan: Plan) -> None:
        self._plan = self._way = plan
        self._contests.clear()

    def _apply(self, request: Message) -> Any:
        self._machine.enter()
        host = self._machine.host()
        phases, progress = (request["phase"],), _Progress(self._emit)
        outcome = self._execute(host, phases, progress)
        while outcome.failure and self._note_contest(outcome.failure):
            progress.begin_again()
            outcome = self._execute(host, ("remove", "make") if "make" in phases else phases, progress)
        if not outcome.failure and request["phase"] == "make":
            outcome = self._settle(host, outcome)
        return CODEC.encode(outcome)

    def _execute(self, host: BatchRunner, phases: tuple[str, ...], progress: _Progress) -> Outcome:
        # A rollback is what a cancellation leads to, so it is not cancelled in turn.
        cancelled = never if self._rolling_back else self._cancelled
        steps = {"remove": self._way.remove, "make": self._way.make}
        batches = tuple(batch for phase in phases for batch in steps[phase])
        return execute_batches(host, batches, progress, cancelled)

    def _note_contest(self, failure: Failure) -> bool:
        """Whether it is the root of a container who may have caused the failure, in its own namespace: then there is another way.

        The host is read and planned for again. After some failures by the same container, its things are left as they are: what
        it does to itself must not undo what is made for others. The plan stays as it is, for a rollback.
        """
        by_ref = {change.ref: change for change in self._way.changes}
        change = by_ref.get(failure.ref) if failure.ref and failure.refused else None
        if change is None or not change.exposed_to:
            return False
        self._contests[change.exposed_to] += 1
        given_up = {container for container, count in self._contests.items() if count >= CONTEST_TRIES}
        changes = diff_states(self._live(), self._desired)
        self._way = plan_changes(split_exposed(changes, given_up)[0])
        return True

    def _settle(self, host: SettlingHost, outcome: Outcome) -> Outcome:
        cancelled = never if self._rolling_back else self._cancelled
        try:
            host.settle(self._tell_waiting, cancelled)
        except HostError as error:
            return replace(outcome, failure=Failure(None, error.message))
        return outcome

    def _tell_waiting(self, bridge: str, seconds: float) -> None:
        self._emit({"event": "waiting", "bridge": bridge, "seconds": round(seconds)})

    def _check(self, _: Message) -> Any:
        """The changes that the desired state still needs; the kernel is given a moment."""
        remaining: tuple[Change, ...] = ()
        for attempt in range(CHECK_TRIES):
            if attempt:
                time.sleep(CHECK_PAUSE_S)
            remaining = diff_states(self._live(), self._desired)
            if not remaining:
                break
        return CODEC.encode((*remaining, *self._repaired))

    def _mend(self, request: Message) -> Any:
        self._follow(compile_plan(self._live(), self._desired))
        return CODEC.encode(self._describe(request["host"], ""))

    def _rollback(self, request: Message) -> Any:
        if request["before"] is not None:  # this worker takes the place of one that has died
            self._machine.log("what was done here is taken back over a new connection")
            self._before = self._undo = CODEC.decode(HostState, request["before"])
        self._turn_back(self._before)
        self._keeping = False
        return CODEC.encode(self._describe(request["host"], ""))

    def _turn_back(self, before: HostState) -> None:
        """Put the way back to `before` in the plan's place."""
        self._interest = replace(self._interest, sysctls=_sysctl_keys({**self._desired.records, **before.records}))
        live = when_back(self._live)
        self._desired = rollback_target(before, live)
        self._repaired = find_repaired(before, self._desired)
        self._follow(compile_plan(live, self._desired))
        self._rolling_back = True

    def _arm(self, request: Message) -> None:
        self._token = request["token"]
        self._undo = self._before

    def _keep(self, _: Message) -> None:
        if not self._machine.is_confirmed(self._token):
            raise NetctlError("nobody has shown by a new connection that this host can still be reached")
        self._keeping = True

    def _commit(self, _: Message) -> None:
        if self._undo is not None and not (self._keeping or self._rolling_back):
            raise NetctlError("it was not said that what was made is to be kept")
        self._undo = None
        self._machine.commit(keep_log=self._rolling_back)

    def end(self) -> None:
        """The controller has gone, and will not say what to do with what was not committed. NetctlError where it fails."""
        if self._undo is None:
            return
        if self._keeping:
            self._machine.log("the controller was lost at the end of it; what was done here stays")
            self._machine.commit(keep_log=True)
            return
        self._emit = lambda _: None
        self._machine.log("the controller was lost in the middle of it; what was done here is taken back")
        self._machine.enter()
        self._turn_back(self._undo)
        for phase in ("remove", "make"):
            outcome = CODEC.decode(Outcome, self._apply({"phase": phase}))
            if outcome.failure:
                raise NetctlError(f"{outcome.failure.ref or ''} {outcome.failure.message}".strip())
        remaining, _ = split_exposed(CODEC.decode(tuple[Change, ...], self._check({})))
        if remaining:
            raise NetctlError("; ".join(f"{change.ref}: {change.reason}" for change in remaining[:5]))
        self._machine.commit(keep_log=True)
        self._machine.log("all is as it was before")

    def _listen(self, request: Message) -> Any:
        return CODEC.encode(self._machine.prober().start_listeners(CODEC.decode(tuple[Listener, ...], request["listeners"])))

    def _probe(self, request: Message) -> Any:
        probes = CODEC.decode(tuple[Probe, ...], request["probes"])
        return CODEC.encode(self._machine.prober().run_clients(probes, CODEC.decode(Opened, request["opened"])))

    def _live(self) -> HostState:
        snapshot = self._machine.read(self._interest)
        return with_strays(recognise_all(snapshot), snapshot, self._desired)

    def _with_settings(self, live: HostState, snapshot: Snapshot, keys: Mapping[str, tuple[str, ...]]) -> HostState:
        """The live state, with the kernel settings that `keys` names by their namespaces."""
        if not keys:
            return live
        settings = Sysctl.recognise(self._machine.read_settings(snapshot, Interest(sysctls=keys)))
        return HostState({**live.records, **{record.ref: record for record in settings}})

    def _with_lost_settings(self, live: HostState, snapshot: Snapshot) -> tuple[HostState, tuple[Change, ...]]:
        """The live state with the kernel settings that the changes to come would lose, and those changes.

        A plan that knows them can be taken back: a link that is made again has the kernel's own values.
        """
        changes = diff_states(live, self._desired)
        gone = [change.before for change in changes if change.before and is_gone(change)]
        settings = Sysctl.recognise(self._machine.read_lost_settings(snapshot, gone)) if gone else ()
        lost = {each.ref: each for each in settings if each.ref not in live.records and each.ref not in self._desired.records}
        if not lost:
            return live, changes
        live = HostState({**live.records, **lost})
        return live, diff_states(live, self._desired)

    def _describe(self, host: str, fingerprint: str) -> HostPlan:
        return HostPlan(host, fingerprint, self._plan.step_count, self._plan.changes)


class _Progress:
    """Sends progress, but not more often than people can see. The numbers rise, also if steps are planned a second time."""

    def __init__(self, emit: Callable[[Message], None]) -> None:
        self._emit = emit
        self._next_s = 0.0
        self._before = self._sent = self._done = 0

    def begin_again(self) -> None:
        """What follows is another plan; its steps count on."""
        self._before = self._done

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        self._done = self._before + done
        if self._done > self._sent and (now_s >= self._next_s or done == total):
            self._next_s, self._sent = now_s + PROGRESS_INTERVAL_S, self._done
            self._emit({"event": "progress", "done": self._done, "total": self._before + total})


def _sysctl_keys(refs: Iterable[Ref]) -> dict[str, tuple[str, ...]]:
    """The kernel settings among these, which must be read to be compared."""
    keys: dict[str, list[str]] = {}
    for ref in refs:
        if ref.kind == Sysctl.kind:
            keys.setdefault(ref.netns, []).append(ref.name)
    return {netns: tuple(names) for netns, names in keys.items()}
