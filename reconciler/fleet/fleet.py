"""The fleet: the workers of all hosts, read, planned and moved in step.

    with Fleet.start(len(hosts)) as fleet:             # workers start before the file is checked
        fleet.greet(targets_of(topology), "netctl apply shop.yaml")
        facts = fleet.read(lock=True)
        plans = fleet.plan(desired)
        fleet.apply(plans, progress)                    # returns when packets pass, or raises

Hosts are spoken to side by side (`fleet.side_by_side`); how an apply goes over all of them is in `fleet.rollout`. A host on
another machine belongs to this controller as long as it hears of it: the fleet beats.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Self

from reconciler.errors import HostError, LeftoverError, NetctlError, translating
from reconciler.fleet.local import start_local_worker
from reconciler.fleet.rollout import Rollout
from reconciler.fleet.session import BEATS, Session, WorkerDiedError, WorkerProcess
from reconciler.fleet.side_by_side import SideBySide, merge_errors
from reconciler.fleet.ssh import start_ssh_worker
from reconciler.fleet.target import Target
from reconciler.plan.document import HostPlan, complete_plan
from reconciler.probes.model import OUTCOMES, Listener, Opened, Probe, Result
from reconciler.state.grammar import check_facts
from reconciler.state.host import HostFacts, HostState, Occupancy
from reconciler.state.jsontext import MalformedError
from reconciler.state.progress import ProgressDisplay
from reconciler.state.record import Change
from reconciler.worker import protocol
from reconciler.worker.protocol import PATIENCE_S, Introduction

OWN_FILES, FILES_EACH = 48, 8
"""Of a controller: its own, and those for each worker (its streams, what it says, and a moment's more while it starts)."""

HOLDER_MAX = 512
"""Of what a host says of who is at work there, so many characters are shown."""


class Fleet:
    """Sessions with all hosts of a topology, from their start to `close`."""

    def __init__(self, workers: Iterable[WorkerProcess]) -> None:
        """`workers` have been started and not yet greeted."""
        self._idle = list(workers)
        self._hosts = SideBySide()
        self._sessions = self._hosts.sessions
        self._command = ""
        self._run = secrets.token_hex(8)
        self.patience_s = PATIENCE_S
        """How long hosts on other machines do without hearing of us; to be set before they are greeted."""
        self.drift: Mapping[str, tuple[Change, ...]] = {}
        """By host, what an apply could not hold against the root of a container, in that container's own namespace."""
        self._desired: Mapping[str, HostState] = {}
        """By host, what was planned for."""
        self._machines: dict[str, str] = {}
        self._peers: dict[str, dict[str, str]] = {}
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()
        self._locked = False
        self._occupied: dict[str, Occupancy] = {}
        """By host, who was at work on it when it was greeted."""
        self._greeting: Future[dict[str, NetctlError]] | None = None
        self._reading: Future[dict[str, HostFacts]] | None = None
        """What `begin` has begun."""

    @classmethod
    def start(cls, count: int) -> Self:
        """Start workers; more are started by `greet` where these are too few, and the superfluous end.

        HostError where the process may not open the files that this takes.
        """
        soft, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = OWN_FILES + FILES_EACH * count
        if limit != resource.RLIM_INFINITY and limit < needed:
            help_text = f"raise it: ulimit -n {max(needed, 1024)}"
            raise HostError(f"cannot open {needed} files at once: the limit is {limit}", help_text)
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limit))
        with translating():
            return cls([start_local_worker() for _ in range(count)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all sessions."""
        if self._reading:
            self._reading.exception()  # a session must not end under it
        self._end_sessions()
        self._end_idle()
        self._closed.set()
        self._hosts.close()

    def _end_idle(self) -> None:
        for worker in self._idle:
            worker.kill()
        self._idle.clear()

    def _end_sessions(self) -> None:
        with contextlib.suppress(NetctlError):  # the lock of a worker that has died is free already
            self.release()
        for session in self._sessions.values():
            session.say_goodbye()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    # --- reading and planning ---------------------------------------------------------------------------------------

    def begin(self, targets: Iterable[Target], command: str, *, lock: bool) -> None:
        """Greet and read the hosts, and do not wait for it: what fails is raised by `greet` and `read`."""
        chosen = tuple(targets)
        greeting = self._greeting = self._hosts.submit(lambda: self._greet(chosen, command))

        def read() -> dict[str, HostFacts]:
            greeting.result()
            return self._read([target.host for target in chosen], lock=lock)

        self._reading = self._hosts.submit(read)

    def greet(self, targets: Iterable[Target], command: str, *, optional: bool = False) -> dict[str, NetctlError]:
        """Make each worker one of the hosts; `command` is what others are told of who holds the lock.

        May be called again, for more hosts; those that were greeted are not greeted again. With `optional`, other machines that
        cannot be had are left out: which, and why.
        """
        if self._greeting:
            self._greeting.result()
        new = tuple(target for target in targets if target.host not in self._sessions)
        return self._greet(new, command, optional=optional) if new else {}

    def _greet(self, targets: tuple[Target, ...], command: str, *, optional: bool = False) -> dict[str, NetctlError]:
        self._command = command
        for target in targets:
            near = target.ssh is None
            worker = (self._idle.pop() if self._idle else start_local_worker()) if near else None
            self._sessions[target.host] = Session(target, worker)
        self._end_idle()
        if self._heart is None and any(target.ssh for target in targets):
            self._heart = threading.Thread(target=self._beat, daemon=True)
            self._heart.start()
        answers, errors = self._hosts.attempt(self._open, [target.host for target in targets])
        for host in errors:
            self._sessions.pop(host).close()
        if errors and not (optional and all(target.ssh for target in targets if target.host in errors)):
            one = len(targets) == 1 and targets[0].ssh is None
            raise next(iter(errors.values())) if one else merge_errors(errors)
        self._find_twins({host: answer.machine for host, answer in answers.items()}, optional=optional)
        self._peers |= {host: dict(answer.peers) for host, answer in answers.items()}
        self._occupied |= {host: answer.occupancy for host, answer in answers.items() if answer.occupancy.stamp}
        return errors

    def _open(self, session: Session) -> Introduction:
        """Start the worker where that takes a connection, and greet it."""
        if session.target.ssh:
            session.replace_worker(start_ssh_worker(session.target.ssh, self.patience_s))
        return session.hello(self._command, self._run, self.patience_s)

    def _find_twins(self, machines: Mapping[str, str], *, optional: bool) -> None:
        """HostError where two names lead to one machine: each would remove what the other makes. An optional one is let go."""
        for host, machine in machines.items():
            if self._sessions[host].target.host_key != "local":
                continue
            other = self._machines.setdefault(machine, host)
            if other != host and not optional:
                raise HostError(f"hosts {other} and {host} are the same machine", "name each machine once")
            if other != host:
                self._sessions.pop(host).close()

    def _beat(self) -> None:
        """Let hosts on other machines know that we live, until we are done."""
        while not self._closed.wait(self.patience_s / BEATS):
            for session in tuple(self._sessions.values()):
                if session.target.ssh:
                    session.beat()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The hosts that were greeted."""
        return tuple(session.target for session in self._sessions.values())

    @property
    def peers(self) -> dict[str, str]:
        """The topology's hosts on other machines, and how they are reached, as its hosts on this machine remember them."""
        near = (known for host, known in self._peers.items() if host in self._sessions and not self._sessions[host].target.ssh)
        return {host: connect for known in near for host, connect in known.items()}

    @property
    def told_peers(self) -> dict[str, dict[str, str]]:
        """The same as its hosts on other machines say, by who says so."""
        return {host: known for host, known in self._peers.items() if host in self._sessions and self._sessions[host].target.ssh}

    def remember(self, peers: Mapping[str, str], told: Mapping[str, str] | None = None) -> None:
        """Let each machine remember the others, where it does not yet. One that is not among them has left, and forgets all.

        Those on other machines go on remembering what only they have `told`.
        """
        left = [host for host, session in self._sessions.items() if session.target.ssh and host not in peers]
        self._hosts.finish(_forget, left)
        far = told or {}
        others = {
            host: {name: connect for name, connect in {**(far if session.target.ssh else {}), **peers}.items() if name != host}
            for host, session in self._sessions.items()
            if session.target.host_key == "local" and host not in left
        }
        changed = [host for host, wanted in others.items() if self._peers[host] != wanted]
        self._hosts.finish(lambda session: session.call(protocol.Remember(peers=others[session.target.host])), changed)

    def forget(self) -> None:
        """Leave no file of the topology on any machine."""
        hosts = [host for host, session in self._sessions.items() if session.target.host_key == "local"]
        self._hosts.finish(_forget, hosts)

    def read(self, *, lock: bool) -> dict[str, HostFacts]:
        """The facts of every host; with `lock`, no other netctl can work on them until this one is done."""
        reading, self._reading = self._reading, None
        facts = reading.result() if reading else {}
        return facts | self._read([host for host in self._sessions if host not in facts], lock=lock)

    def _read(self, hosts: Sequence[str], *, lock: bool) -> dict[str, HostFacts]:
        if lock:
            self._lock(hosts)
        return self._hosts.run(_read, hosts)

    def find_disturbances(self) -> dict[str, str]:
        """The hosts on which another netctl was at work since they were greeted, and which one; for one that took no lock."""
        answers, _ = self._hosts.attempt(_read_occupancy, [host for host in self._occupied if host in self._sessions])
        moved = {host: (self._occupied[host], after) for host, after in answers.items()}
        return {
            host: (after.holder or before.holder or "a process that has ended since")[:HOLDER_MAX]
            for host, (before, after) in moved.items()
            if before.holder or before != after
        }

    def _lock(self, hosts: Iterable[str]) -> None:
        """One host after the other, always in the same order, so that of two that start together one gets them all."""
        self._locked = True
        for host in hosts:
            self._hosts.run(lambda session: session.call(protocol.Lock()), (host,))

    def plan(self, desired: Mapping[str, HostState], *, document: bool = False) -> dict[str, HostPlan]:
        """The plan of every host; with `document`, in full. A host that `desired` leaves out is to have nothing."""
        self._desired = wanted = {host: desired.get(host, HostState({})) for host in self._sessions}
        return self._hosts.run(lambda session: _plan(session, wanted[session.target.host], document=document))

    def prepare(self) -> None:
        """Raise what the plans are known to end with: HostError where an image is missing. Nothing is touched."""
        self._hosts.run(lambda session: session.call(protocol.Prepare()))

    # --- applying ---------------------------------------------------------------------------------------------------

    def apply(self, plans: Mapping[str, HostPlan], progress: ProgressDisplay) -> None:
        """Carry out the plans that `plan` gave.

        Returns when all hosts are as desired, read again, and packets pass. RolledBackError where something failed, or the
        user stopped it, and every host is as it was; LeftoverError where not all of it could be taken back. A host that is lost
        when all of them keep the change already is among `lost`.
        """
        if not any(plan.changes for plan in plans.values()):
            self._commit()  # a run that was killed may have left what only a commit removes
            return
        self.prepare()
        with self._hosts.catching_signals():
            rollout = Rollout(self._hosts, plans, self._desired, progress, self, self._run, self.patience_s)
            rollout.carry_out()
            self.drift = rollout.drift
            self._commit()
        for session in self._sessions.values():
            session.log.unlink(missing_ok=True)

    def _commit(self) -> None:
        """Let go of what was kept for a rollback. LeftoverError where that is not possible."""
        try:
            self._hosts.finish(lambda session: session.call(protocol.Commit()))
        except NetctlError as error:
            raise LeftoverError(
                f"all was made, but not all that was kept for a way back could be removed: {error.message}",
                "the next apply removes it",
            ) from error

    def confirm(self, session: Session) -> None:
        """Show by a new connection that the host can still be reached. HostError."""
        second = Session(session.target)
        try:
            self._open(second)
            second.call(protocol.Confirm(token=self._run))
        finally:
            second.close()

    def revive(self, session: Session) -> None:
        """Let another worker take the place of one that has died, with its lock, and read the host. NetctlError."""
        if session.target.ssh is None:
            session.replace_worker(start_local_worker())
        self._open(session)
        if self._locked:
            session.call(protocol.Lock())
        _read(session)

    def release(self) -> None:
        """Let go of the locks, and leave no file of them. `close` does so, too."""
        if self._locked:
            self._locked = False
            _, errors = self._hosts.attempt(lambda session: session.call(protocol.Release()))
            dead = [host for host, error in errors.items() if isinstance(error, WorkerDiedError)]
            self._hosts.attempt(self._release_anew, [host for host in dead if not self._sessions[host].target.ssh])

    def _release_anew(self, session: Session) -> None:
        """Remove the lock's file of a worker that was killed; the lock itself is free."""
        session.replace_worker(start_local_worker())
        self._open(session)
        session.call(protocol.Lock())
        session.call(protocol.Release())

    @property
    def lost(self) -> Mapping[str, NetctlError]:
        """Hosts on other machines whose connection ended when all was done but for tidying up; and how."""
        return self._hosts.lost

    def count_connections(self, addresses: Mapping[str, Sequence[str]]) -> dict[str, Mapping[str, int]]:
        """By host, how many entries of connection tracking each of the addresses there has begun."""
        return self._hosts.run(
            lambda session: session.call(protocol.Count(addresses=tuple(addresses[session.target.host]))), addresses
        )

    # --- verification -----------------------------------------------------------------------------------------------

    def probe(self, probes: tuple[Probe, ...]) -> tuple[Result, ...]:
        """Ask everything, each probe on its host, after the listeners that they need are open on theirs. In the given order."""
        listeners = dict.fromkeys(probe.listener for probe in probes if probe.listener)
        try:
            answers = self._hosts.run(lambda session: _listen(session, listeners))
            known = Opened(
                tuple(each for one in answers.values() for each in one.taken),
                tuple(each for one in answers.values() for each in one.failed),
            )
            found = self._hosts.run(lambda session: _probe(session, probes, known))
        finally:
            with contextlib.suppress(NetctlError):
                self._hosts.run(lambda session: session.call(protocol.CloseListeners()))
        queues = {host: iter(results) for host, results in found.items()}
        return tuple(next(queues[probe.host]) for probe in probes if probe.host in queues)


def _forget(session: Session) -> None:
    session.call(protocol.Forget())


def _read_occupancy(session: Session) -> Occupancy:
    return session.call(protocol.ReadOccupancy())


def _read(session: Session) -> HostFacts:
    request = protocol.Read(engines=session.target.containers, openvswitch=session.target.openvswitch_needed)
    facts = session.call(request)
    with session.reading(request):
        check_facts(facts)
    return facts


def _plan(session: Session, desired: HostState, *, document: bool) -> HostPlan:
    request = protocol.Plan(host=session.target.host, desired=desired, document=document)
    answer = session.call(request)
    with session.reading(request):
        plan = complete_plan(answer, desired)
        if plan.host != session.target.host or bool(plan.fingerprint) != document:
            raise MalformedError("a plan that was not asked for")
    return plan


def _listen(session: Session, listeners: Iterable[Listener]) -> Opened:
    request = protocol.OpenListeners(listeners=tuple(each for each in listeners if each.host == session.target.host))
    opened = session.call(request)
    with session.reading(request):
        if not {*opened.taken, *(each for each, _ in opened.failed)} <= set(request.listeners):
            raise MalformedError("a listener that was not asked for")
    return opened


def _probe(session: Session, probes: tuple[Probe, ...], opened: Opened) -> tuple[Result, ...]:
    request = protocol.RunProbes(probes=tuple(each for each in probes if each.host == session.target.host), opened=opened)
    results = session.call(request)
    with session.reading(request):
        asked = tuple(result.probe for result in results) == request.probes
        if not asked or any(result.finding.outcome not in OUTCOMES for result in results):
            raise MalformedError("results of probes that were not asked for")
    return results
