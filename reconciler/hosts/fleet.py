"""The fleet: the workers of all hosts, read, planned and moved in step. Called by `cli`.

    with Fleet.start(len(hosts)) as fleet:             # workers start while the file is read
        fleet.greet(targets_of(topology), "netctl apply shop.yaml")
        facts = fleet.read(lock=True)
        plans = fleet.plan(desired)
        fleet.apply(plans, progress)                    # returns when packets pass, or raises

Hosts work side by side, in phases with a barrier: every host removes before any makes, so that a thing can move from one to
another. The lab carries its hosts, so it removes after them and makes before them. Where one host fails, or the user stops,
all of them go back.

A host on another machine belongs to this controller as long as it hears of it: the fleet beats, and before it commits it
shows by a new connection to each that they can still be reached. One that is lost in between takes itself back
(`worker.remote`); a commit that cannot be delivered is said to be so.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, Self, TypeVar

from reconciler.errors import HostError, LeftoverError, NetctlError, RolledBackError
from reconciler.hosts.local import start_local_worker
from reconciler.hosts.session import BEATS, PATIENCE_S, Session, WorkerDiedError, WorkerProcess
from reconciler.hosts.ssh import start_ssh_worker
from reconciler.hosts.target import LAB, Target
from reconciler.plan.document import CODEC, HostPlan
from reconciler.plan.execute import Outcome
from reconciler.probes.model import Listener, Opened, Probe, Result
from reconciler.state.host import HostFacts, HostState
from reconciler.state.record import Change

T = TypeVar("T")
WATCH_INTERVAL_S = 0.1
"""How long the wish to stop may go unnoticed while the hosts are at work."""


class Progress(Protocol):
    """What is told how far a host is (see `render.progress`)."""

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are done."""


class Fleet:
    """Sessions with all hosts of a topology, from their start to `close`."""

    def __init__(self, workers: Iterable[WorkerProcess]) -> None:
        """`workers` have been started and not yet greeted."""
        self._idle = list(workers)
        self._sessions: dict[str, Session] = {}
        self._command = ""
        self._run = secrets.token_hex(8)
        self.patience_s = PATIENCE_S
        """How long hosts on other machines do without hearing of us; to be set before they are greeted."""
        self._machines: dict[str, str] = {}
        self._peers: dict[str, dict[str, str]] = {}
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()
        self._stop = threading.Event()
        self._going_back = False
        self._locked = False
        self._early: tuple[tuple[Target, ...], Future[dict[str, HostFacts]]] | None = None
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="host")

    @classmethod
    def start(cls, count: int) -> Self:
        """Start workers; more are started by `greet` where these are too few, and the superfluous end."""
        return cls([start_local_worker() for _ in range(count)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all sessions."""
        self._drop_early()
        self._end_sessions()
        self._end_idle()
        self._closed.set()
        self._pool.shutdown()

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

    def start_early(self, targets: Iterable[Target], command: str, *, lock: bool) -> None:
        """Begin with what `greet` and `read` will do, where these are the hosts as it seems, and do not wait for it."""
        chosen = tuple(targets)

        def begin() -> dict[str, HostFacts]:
            self._greet(chosen, command)
            return self._read(lock=lock)

        if chosen:
            self._early = chosen, self._pool.submit(begin)

    def greet(self, targets: Iterable[Target], command: str, *, optional: bool = False) -> dict[str, NetctlError]:
        """Make each worker one of the hosts; `command` is what others are told of who holds the lock.

        May be called again, for more hosts. With `optional`, other machines that cannot be had are left out: which, and why.
        """
        chosen = tuple(targets)
        if self._early and self._early[0] != chosen:
            self._drop_early()
            self._end_sessions()
        return {} if self._early else self._greet(chosen, command, optional=optional)

    def _drop_early(self) -> None:
        """Wait for what was begun early, and forget it."""
        if self._early:
            self._early[1].exception()
            self._early = None

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
        answers, errors = self._try_side_by_side(self._open, [target.host for target in targets])
        for host in errors:
            self._sessions.pop(host).close()
        if errors and not (optional and all(target.ssh for target in targets if target.host in errors)):
            raise _merge(errors) if len(targets) > 1 else next(iter(errors.values()))
        self._find_twins({host: str(answer["machine"]) for host, answer in answers.items()}, optional=optional)
        self._peers |= {host: dict(answer["peers"]) for host, answer in answers.items()}
        return errors

    def _open(self, session: Session) -> Any:
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
        """The topology's hosts on other machines, and how they are reached, as its hosts remember them."""
        return {host: connect for known in self._peers.values() for host, connect in known.items()}

    def remember(self, peers: Mapping[str, str]) -> None:
        """Let each machine remember the others, where it does not yet. One that is not among them has left, and forgets all."""
        left = [host for host, session in self._sessions.items() if session.target.ssh and host not in peers]
        self._side_by_side(_forget, left)
        others = {
            host: {name: connect for name, connect in peers.items() if name != host}
            for host, session in self._sessions.items()
            if session.target.host_key == "local" and host not in left
        }
        changed = [host for host, wanted in others.items() if self._peers[host] != wanted]
        self._side_by_side(lambda session: session.request("remember", peers=others[session.target.host]), changed)

    def forget(self) -> None:
        """Leave no file of the topology on any machine."""
        hosts = [host for host, session in self._sessions.items() if session.target.host_key == "local"]
        self._side_by_side(_forget, hosts)

    def read(self, *, lock: bool) -> dict[str, HostFacts]:
        """The facts of every host; with `lock`, no other netctl can work on them until this one is done."""
        early, self._early = self._early, None
        return early[1].result() if early else self._read(lock=lock)

    def _read(self, *, lock: bool) -> dict[str, HostFacts]:
        if lock:
            self._lock()
        answers = self._side_by_side(_read)
        return {host: CODEC.decode(HostFacts, answer) for host, answer in answers.items()}

    def _lock(self) -> None:
        """One host after the other, always in the same order, so that of two that start together one gets them all."""
        self._locked = True
        for host in self._sessions:
            self._side_by_side(lambda session: session.request("lock"), (host,))

    def plan(self, desired: Mapping[str, HostState], *, document: bool = False) -> dict[str, HostPlan]:
        """The plan of every host; with `document`, in full. A host that `desired` leaves out is to have nothing."""
        nothing = HostState({})
        answers = self._side_by_side(
            lambda session: session.request(
                "plan",
                host=session.target.host,
                desired=CODEC.encode(desired.get(session.target.host, nothing)),
                document=document,
            )
        )
        return {host: CODEC.decode(HostPlan, answer) for host, answer in answers.items()}

    def prepare(self) -> None:
        """Raise what the plans are known to end with: HostError where an image is missing. Nothing is touched."""
        self._side_by_side(lambda session: session.request("prepare"))

    # --- applying ---------------------------------------------------------------------------------------------------

    def apply(self, plans: Mapping[str, HostPlan], progress: Progress) -> None:
        """Carry out the plans that `plan` gave.

        Returns when all hosts are as desired, read again, and packets pass. RolledBackError where something failed, or the
        user stopped it, and every host is as it was; LeftoverError where not all of it could be taken back.
        """
        if not any(plan.changes for plan in plans.values()):
            self._commit()  # a run that was killed may have left what only a commit removes
            return
        self.prepare()
        far = [host for host, plan in plans.items() if plan.changes and self._sessions[host].target.ssh]
        with self._catching_signals():
            try:
                self._side_by_side(lambda session: session.request("arm", token=self._run), far)
                self._walk(plans, progress)
                self._check("after the apply")
                self._side_by_side(self._confirm, far)
            except NetctlError as error:
                self._roll_back(plans, progress, NetctlError("stopped by the user") if self._stop.is_set() else error)
        self._commit()
        for session in self._sessions.values():
            session.log.unlink(missing_ok=True)

    def _confirm(self, session: Session) -> None:
        """Show by a new connection that the host can still be reached."""
        second = Session(session.target)
        try:
            self._open(second)
            second.request("confirm", token=self._run)
        finally:
            second.close()

    def _commit(self) -> None:
        """Nobody goes back from here. LeftoverError where a host cannot be told so."""
        _, errors = self._try_side_by_side(lambda session: session.request("commit"))
        if errors:
            error = _merge(errors)
            raise LeftoverError(
                f"all was made, but not every host could be told to keep it: {error.message}",
                f"a host that was not told takes itself back within {self.patience_s:.0f} s; the next apply brings it along",
            )

    def release(self) -> None:
        """Let go of the locks, and leave no file of them. `close` does so, too."""
        if self._locked:
            self._locked = False
            self._side_by_side(lambda session: session.request("release"))

    def _walk(self, plans: Mapping[str, HostPlan], progress: Progress) -> None:
        """Both phases on all hosts that change: the lab last on the way down, and first on the way up."""
        hosts = [host for host, plan in plans.items() if plan.changes and host != LAB]
        lab = [LAB] if LAB in plans and plans[LAB].changes else []
        for phase, group in (("remove", hosts), ("remove", lab), ("make", lab), ("make", hosts)):
            # A worker heeds the wish to stop only while it has batches to carry out.
            if self._stop.is_set() and not self._going_back:
                raise NetctlError("stopped by the user")
            self._side_by_side(lambda session, phase=phase: self._phase(session, phase, progress), group)  # type: ignore[misc]

    def _phase(self, session: Session, phase: str, progress: Progress) -> None:
        host = session.target.host
        shown = "take back" if self._going_back else phase

        def tell(event: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):  # a terminal that has gone is no reason to leave a host half done
                progress.update(host, shown, event["done"], event["total"])

        answer = session.request("apply", tell, phase=phase)
        outcome = CODEC.decode(Outcome, answer)
        if outcome.failure:
            what = f"{outcome.failure.ref}: " if outcome.failure.ref else ""
            raise NetctlError(f"{what}{outcome.failure.message}")

    def _check(self, when: str, hosts: Iterable[str] | None = None) -> None:
        """Every host read again: nothing may differ from what is wanted. NetctlError with what does."""
        answers = self._side_by_side(lambda session: session.request("check"), hosts)
        for host, answer in answers.items():
            if changes := CODEC.decode(tuple[Change, ...], answer):
                shown = "; ".join(f"{change.ref}: {change.reason}" for change in changes[:5])
                more = f", and {len(changes) - 5} more" if len(changes) > 5 else ""
                raise NetctlError(f"{host} is not as it should be {when}: {shown}{more}")

    def _roll_back(self, plans: Mapping[str, HostPlan], progress: Progress, cause: NetctlError) -> None:
        """Take back what was done on every host. Always raises: RolledBackError, or LeftoverError."""
        self._going_back = True
        changed = [host for host, plan in plans.items() if plan.changes]
        answers, lost = self._try_side_by_side(lambda session: self._plan_back(session, plans[session.target.host]), changed)
        back = {host: CODEC.decode(HostPlan, answer) for host, answer in answers.items()}
        try:
            self._walk(back, progress)
            self._check("after the rollback", back)
            self._side_by_side(lambda session: session.request("commit"), back)
        except NetctlError as error:
            raise LeftoverError(
                _add(cause.message, f"and not all of it could be taken back: {error.message}"),
                "`netctl status` says what differs; the next apply takes over what is left, and destroy removes it",
            ) from cause
        if lost:
            raise self._left_alone(cause, lost) from cause
        raise RolledBackError(_add(cause.message, "every host is as it was before"), cause.help_text) from cause

    def _left_alone(self, cause: NetctlError, lost: Mapping[str, NetctlError]) -> LeftoverError:
        """Some hosts went back, and others could not be told to."""
        words = f"every host that can be reached is as it was before, and not {_merge(lost).message}"
        if all(self._sessions[host].target.ssh for host in lost):
            help_text = (
                f"{', '.join(lost)} {'takes itself' if len(lost) == 1 else 'take themselves'} back within {self.patience_s:.0f} s"
                f" of being lost, and {'says' if len(lost) == 1 else 'say'} so there in /run/netctl/local/*.log"
            )
        else:
            help_text = "`netctl status` says what differs; the next apply takes over what is left, and destroy removes it"
        return LeftoverError(_add(cause.message, words), help_text)

    def _plan_back(self, session: Session, plan: HostPlan) -> Any:
        """The way back, from the worker that made the plan; where that has died, from another that is told the changes."""
        host = session.target.host
        try:
            return session.request("rollback", host=host, changes=None)
        except WorkerDiedError:
            if session.target.ssh is None:
                session.replace_worker(start_local_worker())
            self._open(session)
            if self._locked:
                session.request("lock")
            _read(session)
            return session.request("rollback", host=host, changes=CODEC.encode(plan.changes))

    # --- verification -----------------------------------------------------------------------------------------------

    def probe(self, probes: tuple[Probe, ...]) -> tuple[Result, ...]:
        """Ask everything, each probe on its host, after the listeners that they need are open on theirs. In the given order."""
        listeners = dict.fromkeys(probe.listener for probe in probes if probe.listener)
        try:
            answers = self._side_by_side(lambda session: _listen(session, listeners))
            opened = [CODEC.decode(Opened, answer) for answer in answers.values()]
            known = Opened(
                tuple(each for one in opened for each in one.taken), tuple(each for one in opened for each in one.failed)
            )
            found = self._side_by_side(lambda session: _probe(session, probes, known))
        finally:
            with contextlib.suppress(NetctlError):
                self._side_by_side(lambda session: session.request("unlisten"))
        queues = {host: iter(CODEC.decode(tuple[Result, ...], answer)) for host, answer in found.items()}
        return tuple(next(queues[probe.host]) for probe in probes if probe.host in queues)

    # --- all hosts at once ------------------------------------------------------------------------------------------

    def _side_by_side(self, work: Callable[[Session], T], hosts: Iterable[str] | None = None) -> dict[str, T]:
        """The result of `work` for each host. All are waited for; then what failed is raised, all of it in one."""
        results, errors = self._try_side_by_side(work, hosts)
        if errors:
            raise _merge(errors) if len(self._sessions) > 1 else next(iter(errors.values()))
        return results

    def _try_side_by_side(
        self, work: Callable[[Session], T], hosts: Iterable[str] | None = None
    ) -> tuple[dict[str, T], dict[str, NetctlError]]:
        """The result of `work` for each host, and what failed. All are waited for."""
        chosen = self._sessions if hosts is None else {host: self._sessions[host] for host in hosts}
        futures = {host: self._pool.submit(work, session) for host, session in chosen.items()}
        pending = set(futures.values())
        told = False
        while pending:
            _, pending = wait(pending, timeout=WATCH_INTERVAL_S)
            if self._stop.is_set() and not told:
                told = True
                for session in chosen.values():
                    session.cancel()
        results: dict[str, T] = {}
        errors: dict[str, NetctlError] = {}
        for host, future in futures.items():
            try:
                results[host] = future.result()
            except NetctlError as error:
                errors[host] = error
        return results, errors

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for a stop, which the workers heed between two batches.

        A terminal that goes away (SIGHUP) does not: it may have gone because the network is being changed, and comes back then.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, lambda *_: self._stop.set()) for number in numbers}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _merge(errors: Mapping[str, NetctlError]) -> NetctlError:
    """All that went wrong as one error of the gravest class: a line for each host; hosts that say the same share theirs."""
    gravest = max(errors.values(), key=lambda error: error.exit_status)
    hosts: dict[str, list[str]] = {}
    for host, error in errors.items():
        hosts.setdefault(error.message, []).append(host)
    help_texts = dict.fromkeys(error.help_text for error in errors.values() if error.help_text)
    lines = [f"{', '.join(names)}: {message}" for message, names in hosts.items()]
    told = lines[0] if len(lines) == 1 else "\n".join([f"{len(errors)} hosts have failed", *(f"  {line}" for line in lines)])
    return type(gravest)(told, "\n".join(help_texts))


def _add(message: str, more: str) -> str:
    """A sentence that goes on, on a line of its own where there are several already."""
    return f"{message}\n{more}" if "\n" in message else f"{message}; {more}"


def _forget(session: Session) -> Any:
    return session.request("forget")


def _read(session: Session) -> Any:
    target = session.target
    return session.request("read", engines=target.containers, openvswitch=target.openvswitch_needed)


def _listen(session: Session, listeners: Iterable[Listener]) -> Any:
    mine = tuple(each for each in listeners if each.host == session.target.host)
    return session.request("listen", listeners=CODEC.encode(mine))


def _probe(session: Session, probes: tuple[Probe, ...], opened: Opened) -> Any:
    mine = tuple(each for each in probes if each.host == session.target.host)
    return session.request("probe", probes=CODEC.encode(mine), opened=CODEC.encode(opened))
