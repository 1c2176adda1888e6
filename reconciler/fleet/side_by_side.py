"""Sessions with several hosts, and requests to all of them at the same time.

A thread for each host waits for its answers; the workers do the work. The controller waits for all of them, and cancels
their work if the user asks for it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from reconciler.errors import NetctlError, translating
from reconciler.fleet.session import ConnectionLostError, Session

T = TypeVar("T")
STOPS = (signal.SIGINT, signal.SIGTERM)
WATCH_INTERVAL_S = 0.1
"""The time until a user's cancellation is noticed while the hosts work."""
GRACE_S = 1.0
"""The time that requests may still take after a signal, while nothing is being changed. Then their workers are killed."""
HOSTS_MAX = 256
"""The most concurrent hosts; each has a thread, created on demand."""


class StoppedError(Exception):
    """The controller must end, and nothing was being changed."""


class SideBySide:
    """The sessions, by host, and their threads."""

    def __init__(self) -> None:
        """No sessions yet: the code that opens one adds it."""
        self.sessions: dict[str, Session] = {}
        self.lost: dict[str, NetctlError] = {}
        """The hosts that `finish` has lost, and the errors."""
        self.must_stop: Callable[[], bool] = _never
        """Whether a controller that outlives its changes must end; its signal handlers raise nothing."""
        self._stops = 0
        """The number of times that the user has asked for a stop."""
        self._is_changing = False
        self._pool = ThreadPoolExecutor(max_workers=HOSTS_MAX, thread_name_prefix="host")

    def close(self) -> None:
        """Wait for the threads. All sessions have ended before."""
        self._pool.shutdown()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run other work in parallel."""
        return self._pool.submit(work)

    def run(self, work: Callable[[Session], T], hosts: Iterable[str] | None = None) -> dict[str, T]:
        """The result of `work` for each host. It waits for all of them, and then raises all errors as one."""
        results, errors = self.attempt(work, hosts)
        self._raise(errors)
        return results

    def attempt(
        self, work: Callable[[Session], T], hosts: Iterable[str] | None = None
    ) -> tuple[dict[str, T], dict[str, NetctlError]]:
        """The result of `work` for each host, and the errors. It waits for all of them.

        StoppedError if the controller must stop; outside of changes, handlers of signals run before and after, and may raise.
        """
        self._raise_if_must_stop()
        chosen = dict(self.sessions) if hosts is None else {host: self.sessions[host] for host in hosts}
        with self._deferring_signals() as received:
            with translating():
                futures = {host: self._pool.submit(_translated, work, session) for host, session in chosen.items()}
            self._wait({chosen[host]: future for host, future in futures.items()}, received)
        self._raise_if_must_stop()
        results: dict[str, T] = {}
        errors: dict[str, NetctlError] = {}
        for host, future in futures.items():
            try:
                results[host] = future.result()
            except NetctlError as error:
                errors[host] = error
        return results, errors

    def _wait(self, futures: Mapping[Session, Future[T]], received: list[int]) -> None:
        """Wait for all of them, and pass a stop on."""
        pending = set(futures.values())
        forwarded, patience = False, max(1, self._stops)
        while pending:
            _, pending = wait(pending, timeout=WATCH_INTERVAL_S)
            if received:
                _give_up(futures, wait(pending, timeout=GRACE_S).not_done)
                return
            if self.wants_stop and not forwarded:
                forwarded = True
                for session in futures:
                    session.cancel()
            if self._stops > patience:
                patience = self._stops
                _give_up({session: future for session, future in futures.items() if session.target.ssh}, pending)

    def await_result(self, future: Future[T]) -> T:
        """The result of submitted work. Handlers of signals run afterwards, at most `WATCH_INTERVAL_S` late, and may raise."""
        while True:
            with self._deferring_signals() as received:
                while not received:
                    if wait((future,), timeout=WATCH_INTERVAL_S).done:
                        return future.result()

    @contextlib.contextmanager
    def _deferring_signals(self) -> Iterator[list[int]]:
        """Within, stops are only noted in the list, and their handlers run at the end; during changes they do not raise.

        A handler that raises must not run in code with locks. An exception in the middle of `Condition.__enter__` leaves
        the condition locked, and the thread that has the result waits for it without end.
        """
        received: list[int] = []
        if self._is_changing or threading.current_thread() is not threading.main_thread():
            yield received
            return
        before = {int(number): handler for number in STOPS if callable(handler := signal.getsignal(number))}
        try:
            for number in before:
                signal.signal(number, lambda caught, _: received.append(caught))
            yield received
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        for number in received:
            before[number](number, None)

    def _raise_if_must_stop(self) -> None:
        if self.must_stop() and not self._is_changing:
            raise StoppedError

    def finish(self, work: Callable[[Session], object], hosts: Iterable[str] | None = None) -> None:
        """Run `work` for each host; if a connection ends, the command does not fail, and the host is `lost`."""
        _, errors = self.attempt(work, hosts)
        gone = {host: error for host, error in errors.items() if isinstance(error, ConnectionLostError)}
        for host in gone:
            self.sessions.pop(host).close()
        self.lost |= gone
        self._raise({host: error for host, error in errors.items() if host not in gone})

    def _raise(self, errors: Mapping[str, NetctlError]) -> None:
        if errors:
            # The text says that it comes from another machine.
            one = len(self.sessions) <= 1 and not any(session.target.ssh for session in self.sessions.values())
            raise next(iter(errors.values())) if one else merge_errors(errors)

    @property
    def wants_stop(self) -> bool:
        """Whether the user has asked for a stop."""
        return self._stops > 0 or (self._is_changing and self.must_stop())

    @contextlib.contextmanager
    def catching_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for a stop, which the workers do between two batches.

        A second one ends the wait for other machines that do not answer; their workers roll back by themselves. A
        closed terminal (SIGHUP) does not: the change of the network may have cut its connection, which then returns.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._count_stop) for number in STOPS}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
        self._is_changing = True
        try:
            yield
        finally:
            self._is_changing = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count_stop(self, *_: object) -> None:
        self._stops += 1


def _never() -> bool:
    return False


def _give_up(futures: Mapping[Session, Future[T]], pending: Collection[Future[T]]) -> None:
    for session, future in futures.items():
        if future in pending:
            session.give_up("it was not waited for any longer")


def _translated(work: Callable[[Session], T], session: Session) -> T:
    """The result of `work`. HostError if this machine lacks a resource: an apply then rolls back, as for any other error."""
    with translating():
        return work(session)


def merge_errors(errors: Mapping[str, NetctlError]) -> NetctlError:
    """All errors as one of the gravest class: a line for each host; hosts with the same error share a line."""
    gravest = max(errors.values(), key=lambda error: error.exit_status)
    hosts: dict[str, list[str]] = {}
    for host, error in errors.items():
        # A line break in a host's text must not begin the line of another.
        hosts.setdefault(error.message.replace("\n", "\n    "), []).append(host)
    help_texts = dict.fromkeys(error.help_text for error in errors.values() if error.help_text)
    lines = [f"{', '.join(names)}: {message}" for message, names in hosts.items()]
    message = lines[0] if len(lines) == 1 else "\n".join([f"{len(errors)} hosts have failed", *(f"  {line}" for line in lines)])
    return type(gravest)(message, "\n".join(help_texts))
