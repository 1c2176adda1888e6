"""One cycle: the hosts are read, what differs is planned, and repaired under the lock.

The workers stay for some minutes, and remember what they have parsed. Each cycle reads the whole host, but parses only what
has changed since the last one. Between two cycles they hold nothing of the host. They end with any error, with a pause, and as
soon as another netctl was at work. A repair that fails is left as it is. The next cycle reads what there is, and goes on
from there; nothing is rolled back into what the file does not say.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.agent.withhold import find_awaited, find_engine_work, find_programs, find_roots, withhold
from reconciler.compile import Desired, compile_topology
from reconciler.compile.starts import Answers, answer_starts, find_left, without_others
from reconciler.errors import HostError, LockedError, NetctlError
from reconciler.fleet.fleet import Fleet
from reconciler.fleet.rollout import StepFailedError
from reconciler.fleet.session import WorkerDiedError
from reconciler.fleet.target import Target, targets_of
from reconciler.plan.document import HostPlan
from reconciler.state.host import HostFacts, HostState
from reconciler.state.progress import ProgressDisplay
from reconciler.state.record import Change
from reconciler.state.ref import LAB, Ref, container_of
from reconciler.state.traffic import TrafficCount
from reconciler.topology.host_subnets import hosts_beside
from reconciler.topology.types import Topology
from reconciler.worker.preload import preload

WORKERS_S = 600.0
"""Workers are replaced after so long: they do not collect garbage, and what they know of the host's files may be old."""


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What a cycle found and did."""

    repaired: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    """By host, the changes that were carried out; none if nothing differed."""
    awaited: tuple[str, ...] = ()
    """Containers that do not run, and that the agent does not start."""
    desired: Mapping[str, HostState] = field(default_factory=dict)
    traffic: Mapping[str, tuple[TrafficCount, ...]] = field(default_factory=dict)
    """By host, what its firewall has counted, if that was to be read."""
    error: NetctlError | None = None
    """Why containers were not created, though the rest was repaired."""
    answers: Answers = field(default_factory=dict)
    """To containers that waited for their network."""
    is_partial: bool = False
    """Whether containers of netctl's were left alone, because their engine cannot be asked yet."""

    @property
    def is_in_step(self) -> bool:
        """Whether there was nothing to repair."""
        return not self.repaired


@dataclass(slots=True)
class _Work:
    """What is to be done on all hosts."""

    desired: Desired
    plans: dict[str, HostPlan]
    awaited: tuple[str, ...]
    asked: Mapping[str, HostState]
    """What the plans are for: `desired` without what is left alone."""
    is_partial: bool = False

    @property
    def changes(self) -> dict[str, tuple[Change, ...]]:
        return {host: plan.changes for host, plan in self.plans.items() if plan.changes}


@dataclass(slots=True)
class Keeper:
    """Keeps hosts of one topology as its file says: once for each call of `cycle`."""

    topology: Topology
    targets: tuple[Target, ...]
    command: str
    """What other controllers read of the lock's holder."""
    withheld: Callable[[str], Collection[Ref]] = lambda _: ()
    """By host, what is contested now."""
    is_paused: Callable[[], bool] = lambda: False
    """Asked under the lock: a destroy that had it before may have ended only now."""
    must_stop: Callable[[], bool] = lambda: False
    """A reading ends with StoppedError then; a change of hosts ends after the batch in hand, with NetctlError."""
    reads_traffic: bool = False
    """Whether each cycle also reads what the firewalls have counted."""
    held: dict[str, HostState] = field(default_factory=dict)
    """By host, what was desired when the host was last in step."""
    unfinished: dict[str, dict[Ref, Change]] = field(default_factory=dict)
    """By host, the changes of cycles that failed. The next cycle that succeeds finds which of them were made."""
    is_clean: bool = False
    """Whether the last cycle left nothing that only a commit removes."""
    beside: Mapping[str, HostFacts] = field(default_factory=dict)
    """The facts of hosts that share a subnet and are not held here."""
    clock: Callable[[], float] = time.monotonic
    _compiled: tuple[Mapping[str, HostFacts], Desired] | None = None
    _facts: Mapping[str, HostFacts] = field(default_factory=dict)
    """What the hosts reported last."""
    _fleet: Fleet | None = None
    """The workers of the last cycle, which rest or, within `cycle`, read already."""
    _has_begun: bool = False
    """Whether they read already."""
    _fleet_until_s: float = 0.0

    def follow(self, topology: Topology, targets: tuple[Target, ...]) -> None:
        """Go on with a new file."""
        if targets != self.targets:
            self.end_workers()
        self.topology, self.targets, self._compiled = topology, targets, None

    def read_beside(self) -> Mapping[str, NetctlError]:
        """Read the hosts that share a subnet with those held here, as far as they can be reached; what failed, by host."""
        own = {target.host for target in self.targets}
        wanted = {name for host in own - {LAB} for name in hosts_beside(self.topology, host)} - own
        if not wanted:
            self.beside = {}
            return {}
        self.end_workers()  # new ones are forked only by a process with one thread
        near = sum(self.topology.hosts[host].connect.scheme != "ssh" for host in wanted)
        with Fleet.start(near) as fleet:
            fleet.stop_when(self.must_stop)
            chosen = (target for target in targets_of(self.topology) if target.host in wanted)
            errors = fleet.greet(chosen, self.command, optional=True)
            # One that cannot be reached now is as it was when it was last read.
            known = {host: facts for host, facts in self.beside.items() if host in errors}
            self.beside = {**known, **fleet.read(lock=False)}
        return errors

    @contextlib.contextmanager
    def reading_ahead(self) -> Iterator[None]:
        """Start to read the hosts, for the `cycle` within; what takes place before it runs beside the reading.

        Nothing starts if workers do not rest, or cannot go on, or if only the lock makes a reading sound.
        """
        if self.is_clean and self._fleet:
            if self._is_fresh(self._fleet):
                self._fleet.begin_again()
                self._has_begun = True
            else:
                self.end_workers()
        try:
            yield
        finally:
            if self._has_begun:  # no cycle came of it, and the next one must not use an old reading
                self.end_workers()

    def cycle(self, progress: ProgressDisplay) -> CycleResult:
        """Read, and repair what differs. LockedError while another netctl is at work; NetctlError if something failed.

        StoppedError if it must stop.
        """
        if self._has_begun and self._compiled is None and self._facts:
            with contextlib.suppress(NetctlError):  # the hosts mostly report the same again; if not, this decides nothing
                self.compile({**self.beside, **self._facts})
        with self.workers() as fleet:
            return self._cycle(fleet, progress)

    @contextlib.contextmanager
    def workers(self) -> Iterator[Fleet]:
        """The workers of all hosts, which rest afterwards; after an error they end."""
        fleet, self._fleet = self._fleet or self._start(), None
        has_begun, self._has_begun = self._has_begun, False
        try:
            if not (has_begun or self._is_fresh(fleet)):
                fleet.close()
                fleet = self._start()
            yield fleet
            fleet.rest()
        except BaseException:
            fleet.close()
            raise
        self._fleet = fleet

    def _start(self) -> Fleet:
        preload({runtime for target in self.targets for runtime in target.containers})
        if not gc.get_freeze_count():
            gc.freeze()  # what is imported stays; a collection would write to its pages, which the workers share
        fleet = Fleet.start(len(self.targets))
        fleet.is_agent = True
        fleet.stop_when(self.must_stop)
        try:
            fleet.greet(self.targets, self.command)
        except BaseException:
            fleet.close()
            raise
        self._fleet_until_s = self.clock() + WORKERS_S
        return fleet

    def _is_fresh(self, fleet: Fleet) -> bool:
        """Whether the workers can go on: they are not old, not dead, and no other netctl was at work since."""
        try:
            return self.clock() < self._fleet_until_s and fleet.renew()
        except WorkerDiedError:
            return False

    def end_workers(self) -> None:
        """End the workers that rest."""
        fleet, self._fleet, self._has_begun = self._fleet, None, False
        if fleet:
            fleet.close()

    def _cycle(self, fleet: Fleet, progress: ProgressDisplay) -> CycleResult:
        error: NetctlError | None = None
        work = self._plan(fleet, fleet.read(lock=not self.is_clean))
        if self.is_clean and work.changes:
            # What differed without the lock may be the work of another netctl, half done. If none was there, it holds.
            for host, holder in fleet.find_disturbances().items():
                raise LockedError(f"another netctl is at work on host {host}: {holder}")
            fleet.lock()
        changes = work.changes
        if changes or not self.is_clean:
            if self.is_paused():
                raise LockedError("the agent is paused")
            self.is_clean = False
            work, error = self._prepare(fleet, work)
            try:
                fleet.apply(work.plans, progress, rolls_back=False)
            except StepFailedError:
                for host, found in work.changes.items():
                    self.unfinished.setdefault(host, {}).update((change.ref, change) for change in found)
                raise
            self.is_clean = True
        if not changes:
            self.held = dict(work.desired.hosts)
        answers = self._answer_starts(fleet, work)
        traffic = fleet.read_traffic() if self.reads_traffic else {}
        repaired = self._with_finished(work.changes)
        return CycleResult(repaired, work.awaited, work.desired.hosts, traffic, error, answers, work.is_partial)

    def _answer_starts(self, fleet: Fleet, work: _Work) -> Answers:
        """Let containers start that waited for their network: it is there, or they are none of the topology."""
        if not any(known.starting for known in self._facts.values()):
            return {}
        left = {host: find_left(state, work.asked[host]) for host, state in work.desired.hosts.items() if host in work.asked}
        answers = answer_starts(work.desired.topology, self._facts, work.desired.conflicts, left)
        near = {name for name, host in self.topology.hosts.items() if host.connect.scheme != "ssh"}
        if not near <= {target.host for target in self.targets}:
            answers = without_others(answers)  # another agent may have them
        fleet.answer_starts(answers)
        return answers

    def _with_finished(self, changes: Mapping[str, tuple[Change, ...]]) -> Mapping[str, tuple[Change, ...]]:
        """The changes, and those of failed cycles that were made: they differ no more, and nothing leaves them alone."""
        unfinished, self.unfinished = self.unfinished, {}
        found = dict(changes)
        for host, known in unfinished.items():
            others = {change.ref for change in changes.get(host, ())}.union(self.withheld(host))
            if made := tuple(change for ref, change in known.items() if ref not in others):
                found[host] = (*changes.get(host, ()), *made)
        return found

    def _prepare(self, fleet: Fleet, work: _Work) -> tuple[_Work, NetctlError | None]:
        """What can be carried out, and what keeps programs from being started: a missing image must not hold up the network."""
        try:
            fleet.prepare()
        except HostError as error:
            refs = {host: find_programs(changes) for host, changes in work.changes.items()}
            if not any(refs.values()):
                raise
            left = {host: withhold(work.asked[host], changes, refs[host]) for host, changes in work.changes.items()}
            asked = {**work.asked, **left}
            return replace(work, plans=fleet.plan(asked), asked=asked), error
        return work, None

    def _plan(self, fleet: Fleet, facts: Mapping[str, HostFacts]) -> _Work:
        """The plans, without what is not to be repaired now."""
        self._facts = facts
        desired = self.compile({**self.beside, **facts})
        absent = {conflict.awaited for conflict in desired.conflicts if conflict.awaited}
        # A pattern without a member, and a member that cannot have what another one has, have no records.
        recordless = sorted(name for name in absent if name not in desired.topology.containers)
        hosts = {target.host: desired.hosts.get(target.host, HostState({})) for target in self.targets}
        plans = fleet.plan(hosts)
        left: dict[str, HostState] = {}
        awaited: list[str] = []
        is_partial = False
        for host, plan in plans.items():
            held = self.held.get(host, HostState({}))
            refs = set(find_awaited(plan.changes, self.topology.repair, held, absent))
            awaited += [container_of(ref.netns) or ref.name for ref in sorted(refs)]
            if host in facts and facts[host].has_silent_engine:
                own = find_engine_work(plan.changes)
                is_partial = is_partial or bool(own)
                refs |= own
            if refs := refs | set(self.withheld(host)):
                left[host] = withhold(hosts[host], plan.changes, refs)
        asked = {**hosts, **left}
        if any(left[host] != hosts[host] for host in left):
            plans = fleet.plan(asked)
        return _Work(replace(desired, hosts=hosts), plans, (*awaited, *recordless), asked, is_partial)

    def compile(self, facts: Mapping[str, HostFacts]) -> Desired:
        """The desired state; as before if nothing is new."""
        if self._compiled is None or self._compiled[0] != facts:
            desired = compile_topology(self.topology, facts)
            hosts = {host: state.sharing(self.held.get(host, HostState({}))) for host, state in desired.hosts.items()}
            self._compiled = facts, replace(desired, hosts=hosts)
        return self._compiled[1]


def count_repairs(changes: Mapping[str, tuple[Change, ...]], before: Mapping[str, HostState]) -> list[tuple[str, Ref]]:
    """Of what was carried out, the things that were wanted so in the cycle before: drift, and no change of the file."""
    return [
        (host, change.ref)
        for host, found in changes.items()
        for change in find_roots(found)
        if before.get(host, HostState({})).records.get(change.ref) == change.after
    ]
