"""The fleet: the workers of all hosts, read, planned and changed in step.

    with Fleet.start(len(hosts)) as fleet:             # workers start before the file is checked
        fleet.greet(targets_of(topology), "netctl apply shop.yaml")
        facts = fleet.read(lock=True)
        plans = fleet.plan(desired)
        fleet.apply(plans, progress)                    # returns when packets pass, or raises

Requests run on all hosts at once (`fleet.side_by_side`); `fleet.rollout` runs an apply over all of them. A host on
another machine belongs to this controller as long as it receives its beats.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Self, TypeVar

from reconciler.errors import HostError, LeftoverError, NetctlError, translating
from reconciler.fleet.local import start_local_worker
from reconciler.fleet.requests import listen_host, plan_host, probe_host, read_host
from reconciler.fleet.rollout import Rollout
from reconciler.fleet.session import BEATS, Session, WorkerDiedError, WorkerProcess
from reconciler.fleet.side_by_side import SideBySide, merge_errors
from reconciler.fleet.ssh import start_ssh_worker
from reconciler.fleet.target import Target
from reconciler.plan.document import HostPlan
from reconciler.probes.model import Opened, Probe, Result
from reconciler.state.host import HostFacts, HostState, Occupancy
from reconciler.state.progress import ProgressDisplay
from reconciler.state.record import Change
from reconciler.state.starts import StartAnswer
from reconciler.state.traffic import TrafficCount
from reconciler.worker import protocol
from reconciler.worker.protocol import PATIENCE_S, Introduction

T = TypeVar("T")

OWN_FILES, FILES_EACH = 48, 8
"""Open files of a controller: its own, and those for each worker (its streams, its messages, and more during its start)."""
ADDRESS_SPACE_BYTES = 100 << 20
"""The least address space of a controller, and of each worker: libraries, and the stacks of threads."""

HOLDER_MAX = 512
"""The number of characters that are shown of a host's lock holder."""


class Fleet:
    """Sessions with all hosts of a topology, from their start to `close`."""

    def __init__(self, workers: Iterable[WorkerProcess]) -> None:
        """`workers` have been started, but do not know their hosts yet."""
        self._idle = list(workers)
        self._hosts = SideBySide()
        self._sessions = self._hosts.sessions
        self._command = ""
        self._run = secrets.token_hex(8)
        self.patience_s = PATIENCE_S
        """The time after which hosts on other machines give this controller up; to be set before `greet`."""
        self.is_agent = False
        """Whether this is an agent's: locks are held for one cycle, and workers stay for many; to be set before `greet`."""
        self.drift: Mapping[str, tuple[Change, ...]] = {}
        """By host, changes that the root of a container undid in its own namespace."""
        self._desired: Mapping[str, HostState] = {}
        """The desired state of each host of the last plan."""
        self._machines: dict[str, str] = {}
        self._peers: dict[str, dict[str, str]] = {}
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()
        self._locked = False
        self._occupied: dict[str, Occupancy] = {}
        """The lock holder of each host at `greet`."""
        self._greeting: Future[dict[str, NetctlError]] | None = None
        self._reading: Future[dict[str, HostFacts]] | None = None
        """The reading that `begin` started."""

    @classmethod
    def start(cls, count: int) -> Self:
        """Start workers. `greet` starts more if these are too few, and ends superfluous ones.

        HostError if the process may not open that many files, or may not have the memory.
        """
        space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if space != resource.RLIM_INFINITY and space < ADDRESS_SPACE_BYTES:
            # In less, a thread can run out of memory before it says that it runs, and Thread.start waits for that without end.
            message = f"cannot work in {space >> 20} MiB of address space"
            raise HostError(message, f"raise the limit of memory: ulimit -v {ADDRESS_SPACE_BYTES >> 10}")
        soft, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = OWN_FILES + FILES_EACH * count
        if limit != resource.RLIM_INFINITY and limit < needed:
            help_text = f"raise it: ulimit -n {max(needed, 1024)}"
            raise HostError(f"cannot open {needed} files at once: the limit is {limit}", help_text)
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limit))
        with translating():
            return cls([start_local_worker() for _ in range(count)])

    def stop_when(self, must_stop: Callable[[], bool]) -> None:
        """Raise StoppedError at a request, once this says so; a change of hosts ends after the batch in hand, instead."""
        self._hosts.must_stop = must_stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all sessions."""
        self.stop_when(lambda: False)  # the requests at the end are for the stop, too
        if self._reading:
            with contextlib.suppress(Exception):
                self._hosts.await_result(self._reading)  # a session must not end during a reading
        self._end_sessions()
        self._end_idle()
        self._closed.set()
        self._hosts.close()

    def _end_idle(self) -> None:
        for worker in self._idle:
            worker.kill()
        self._idle.clear()

    def _end_sessions(self) -> None:
        with contextlib.suppress(NetctlError):  # the lock of a dead worker is free already
            self.release()
        for session in self._sessions.values():
            session.say_goodbye()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    # --- reading and planning ---------------------------------------------------------------------------------------

    def begin(self, targets: Iterable[Target], command: str, *, lock: bool) -> None:
        """Start to greet and read the hosts without waiting; `greet` and `read` raise the errors."""
        chosen = tuple(targets)
        greeting = self._greeting = self._hosts.submit(lambda: self._greet(chosen, command))

        def read() -> dict[str, HostFacts]:
            greeting.result()
            return self._read([target.host for target in chosen], lock=lock)

        self._reading = self._hosts.submit(read)

    def begin_again(self) -> None:
        """Start to read all hosts without a lock and without waiting; `read` raises the errors."""
        hosts = tuple(self._sessions)
        self._reading = self._hosts.submit(lambda: self._read(hosts, lock=False))

    def greet(self, targets: Iterable[Target], command: str, *, optional: bool = False) -> dict[str, NetctlError]:
        """Assign a host to each worker; the lock shows `command` to other controllers.

        It may be called again, for more hosts; a host is not greeted twice. With `optional`, unreachable machines are
        left out: the result names them, and the reasons.
        """
        if self._greeting:
            self._hosts.await_result(self._greeting)
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
        """Start the worker if that needs a connection, and greet it."""
        if session.target.ssh:
            session.replace_worker(start_ssh_worker(session.target.ssh, self.patience_s))
        return session.hello(self._command, self._run, self.patience_s, stays=self.is_agent)

    def _find_twins(self, machines: Mapping[str, str], *, optional: bool) -> None:
        """Raise HostError if two names lead to one machine: each would delete the other's resources. Drop an optional one."""
        for host, machine in machines.items():
            if self._sessions[host].target.host_key != "local":
                continue
            other = self._machines.setdefault(machine, host)
            if other != host and not optional:
                raise HostError(f"hosts {other} and {host} are the same machine", "name each machine once")
            if other != host:
                self._sessions.pop(host).close()

    def _beat(self) -> None:
        """Send signs of life to hosts on other machines until the end."""
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
        """The topology's hosts on other machines and their destinations, as its hosts on this machine remember them."""
        near = (known for host, known in self._peers.items() if host in self._sessions and not self._sessions[host].target.ssh)
        return {host: connect for known in near for host, connect in known.items()}

    @property
    def reported_peers(self) -> dict[str, dict[str, str]]:
        """The same as its hosts on other machines report, by the reporting host."""
        return {host: known for host, known in self._peers.items() if host in self._sessions and self._sessions[host].target.ssh}

    def remember(self, peers: Mapping[str, str], reported: Mapping[str, str] | None = None) -> None:
        """Store on each machine the topology's other hosts, if it lacks them. A host that is not among them deletes its list.

        Hosts on other machines also keep what only they have `reported`.
        """
        left = [host for host, session in self._sessions.items() if session.target.ssh and host not in peers]
        self._hosts.finish(_forget, left)
        far = reported or {}
        others = {
            host: {name: connect for name, connect in {**(far if session.target.ssh else {}), **peers}.items() if name != host}
            for host, session in self._sessions.items()
            if session.target.host_key == "local" and host not in left
        }
        changed = [host for host, wanted in others.items() if self._peers[host] != wanted]
        self._hosts.finish(lambda session: session.call(protocol.Remember(peers=others[session.target.host])), changed)

    def forget(self) -> None:
        """Delete all files of the topology on every machine."""
        hosts = [host for host, session in self._sessions.items() if session.target.host_key == "local"]
        self._hosts.finish(_forget, hosts)

    def read(self, *, lock: bool) -> dict[str, HostFacts]:
        """The facts of every host; with `lock`, no other netctl can change them until this one is done."""
        reading, self._reading = self._reading, None
        facts = self._hosts.await_result(reading) if reading else {}
        return facts | self._read([host for host in self._sessions if host not in facts], lock=lock)

    def _read(self, hosts: Sequence[str], *, lock: bool) -> dict[str, HostFacts]:
        if lock:
            self.lock(hosts)
        return self._hosts.run(read_host, hosts)

    def find_disturbances(self) -> dict[str, str]:
        """The hosts that another netctl changed since `greet`, and its description; used without a lock."""
        answers, _ = self._hosts.attempt(_read_occupancy, [host for host in self._occupied if host in self._sessions])
        moved = {host: (self._occupied[host], after) for host, after in answers.items()}
        return {
            host: (after.holder or before.holder or "a process that has ended since")[:HOLDER_MAX]
            for host, (before, after) in moved.items()
            if before.holder or before != after
        }

    def rest(self) -> None:
        """Release the locks, and hold nothing of the hosts until the next reading."""
        self.release()
        self._hosts.run(lambda session: session.call(protocol.Rest()))
        self._occupied = self._hosts.run(_read_occupancy)

    def renew(self) -> bool:
        """Whether no other netctl has been at work since `rest`. If one was, workers may know its files as they were."""
        before, self._occupied = self._occupied, self._hosts.run(_read_occupancy)
        return before == self._occupied

    def lock(self, hosts: Iterable[str] | None = None) -> None:
        """Take the locks in a fixed order of hosts, so that of two concurrent controllers one gets them all."""
        self._locked = True
        for host in self._sessions if hosts is None else hosts:
            self._hosts.run(lambda session: session.call(protocol.Lock(brief=self.is_agent)), (host,))

    def plan(self, desired: Mapping[str, HostState], *, document: bool = False) -> dict[str, HostPlan]:
        """The plan of every host; with `document`, in full. A host that is missing in `desired` gets an empty state."""
        self._desired = wanted = {host: desired.get(host, HostState({})) for host in self._sessions}
        return self._hosts.run(lambda session: plan_host(session, wanted[session.target.host], document=document))

    def prepare(self) -> None:
        """Raise the errors with which the plans are known to end, such as HostError for a missing image. It changes nothing."""
        self._hosts.run(lambda session: session.call(protocol.Prepare()))

    # --- applying ---------------------------------------------------------------------------------------------------

    def apply(self, plans: Mapping[str, HostPlan], progress: ProgressDisplay, *, rolls_back: bool = True) -> None:
        """Execute the plans that `plan` returned.

        It returns when all hosts have the desired state, read again, and packets pass. RolledBackError if a step failed
        or the user cancelled, and every host is in the state before; LeftoverError if a host is not. A host whose
        connection ends after all keep the change is in `lost`. Without `rolls_back`, NetctlError leaves the executed steps.
        """
        if not any(plan.changes for plan in plans.values()):
            self._commit()  # a killed run may have left what only a commit deletes
            return
        self.prepare()
        with self._hosts.catching_signals():
            rollout = Rollout(self._hosts, plans, self._desired, progress, self, self._run, self.patience_s)
            (rollout.carry_out if rolls_back else rollout.go_forward)()
            self.drift = rollout.drift
            self._commit()
        for session in self._sessions.values():
            session.log.unlink(missing_ok=True)

    def _commit(self) -> None:
        """Delete what was kept for a rollback. LeftoverError if that is not possible."""
        try:
            self._hosts.finish(lambda session: session.call(protocol.Commit()))
        except NetctlError as error:
            raise LeftoverError(
                f"all changes are made, but the data for a rollback could not be deleted completely: {error.message}",
                "the next `netctl apply` deletes it",
            ) from error

    def confirm(self, session: Session) -> None:
        """Show by a new connection that the host can still be reached. HostError if it cannot."""
        second = Session(session.target)
        try:
            self._open(second)
            second.call(protocol.Confirm(token=self._run))
        finally:
            second.close()

    def revive(self, session: Session) -> None:
        """Replace a dead worker by another, with its lock, and read the host. NetctlError if that fails."""
        if session.target.ssh is None:
            session.replace_worker(start_local_worker())
        self._open(session)
        if self._locked:
            session.call(protocol.Lock(brief=self.is_agent))
        read_host(session)

    def release(self) -> None:
        """Release the locks, and delete their files. `close` does so, too."""
        if self._locked:
            self._locked = False
            _, errors = self._hosts.attempt(lambda session: session.call(protocol.Release()))
            dead = [host for host, error in errors.items() if isinstance(error, WorkerDiedError)]
            self._hosts.attempt(self._release_again, [host for host in dead if not self._sessions[host].target.ssh])

    def _release_again(self, session: Session) -> None:
        """Delete the lock file of a killed worker; the lock itself is free."""
        session.replace_worker(start_local_worker())
        self._open(session)
        session.call(protocol.Lock())
        session.call(protocol.Release())

    @property
    def lost(self) -> Mapping[str, NetctlError]:
        """Hosts on other machines whose connection ended after all was done but the clean-up; with the error."""
        return self._hosts.lost

    def count_connections(self, addresses: Mapping[str, Sequence[str]]) -> dict[str, Mapping[str, int]]:
        """By host, the number of entries in connection tracking that each of the addresses there opened."""
        return self._hosts.run(
            lambda session: session.call(protocol.Count(addresses=tuple(addresses[session.target.host]))), addresses
        )

    def read_traffic(self) -> dict[str, tuple[TrafficCount, ...]]:
        """By host, what the firewalls have counted."""
        return self._hosts.run(lambda session: session.call(protocol.ReadTraffic()))

    def answer_starts(self, answers: Mapping[str, tuple[StartAnswer, ...]]) -> None:
        """Answer, by host, containers that wait for their network."""
        self._hosts.run(lambda session: session.call(protocol.AnswerStarts(answers=answers[session.target.host])), answers)

    # --- verification -----------------------------------------------------------------------------------------------

    def probe(self, probes: tuple[Probe, ...]) -> tuple[Result, ...]:
        """Run all probes, each on its host, after their listeners are open on theirs. The results have the given order."""
        listeners = dict.fromkeys(probe.listener for probe in probes if probe.listener)
        try:
            answers = self._hosts.run(lambda session: listen_host(session, listeners))
            known = Opened(
                tuple(each for one in answers.values() for each in one.taken),
                tuple(each for one in answers.values() for each in one.failed),
            )
            found = self._hosts.run(lambda session: probe_host(session, probes, known))
        finally:
            with contextlib.suppress(NetctlError):
                self._hosts.run(lambda session: session.call(protocol.CloseListeners()))
        queues = {host: iter(results) for host, results in found.items()}
        return tuple(next(queues[probe.host]) for probe in probes if probe.host in queues)

    def call(self, action: Callable[[Session], T], hosts: Iterable[str]) -> dict[str, T]:
        """Run an action on these hosts at once; by host its result."""
        return self._hosts.run(action, hosts)


def _forget(session: Session) -> None:
    session.call(protocol.Forget())


def _read_occupancy(session: Session) -> Occupancy:
    return session.call(protocol.ReadOccupancy())
