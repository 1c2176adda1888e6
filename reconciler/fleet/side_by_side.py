"""Sessions with several hosts, and requests to all of them at the same time.

A thread for each host waits for its answers; the workers do the work. The controller waits for all of them, and cancels
their work if the user asks for it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from reconciler.errors import NetctlError, translating
from reconciler.fleet.session import ConnectionLostError, Session

T = TypeVar("T")
WATCH_INTERVAL_S = 0.1
"""The time until a user's cancellation is noticed while the hosts work."""
HOSTS_MAX = 256
"""The most concurrent hosts; each has a thread, created on demand."""


class SideBySide:
    """The sessions, by host, and their threads."""

    def __init__(self) -> None:
        """No sessions yet: the code that opens one adds it."""
        self.sessions: dict[str, Session] = {}
        self.lost: dict[str, NetctlError] = {}
        """The hosts that `finish` has lost, and the errors."""
        self._stops = 0
        """The number of times that the user has asked for a stop."""
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
        """The result of `work` for each host, and the errors. It waits for all of them."""
        chosen = dict(self.sessions) if hosts is None else {host: self.sessions[host] for host in hosts}
        with translating():
            futures = {host: self._pool.submit(_translated, work, session) for host, session in chosen.items()}
        pending = set(futures.values())
        forwarded, patience = False, max(1, self._stops)
        while pending:
            _, pending = wait(pending, timeout=WATCH_INTERVAL_S)
            if self.wants_stop and not forwarded:
                forwarded = True
                for session in chosen.values():
                    session.cancel()
            if self._stops > patience:
                patience = self._stops
                for host, future in futures.items():
                    if future in pending and chosen[host].target.ssh:
                        chosen[host].give_up("it was not waited for any longer")
        results: dict[str, T] = {}
        errors: dict[str, NetctlError] = {}
        for host, future in futures.items():
            try:
                results[host] = future.result()
            except NetctlError as error:
                errors[host] = error
        return results, errors

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
        return self._stops > 0

    @contextlib.contextmanager
    def catching_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for a stop, which the workers do between two batches.

        A second one ends the wait for other machines that do not answer; their workers roll back by themselves. A
        closed terminal (SIGHUP) does not: the change of the network may have cut its connection, which then returns.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._count_stop) for number in numbers}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count_stop(self, *_: object) -> None:
        self._stops += 1


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
