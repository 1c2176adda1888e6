"""Starting a worker on this machine, for the host itself or for a lab host.

A worker is a fork(2) of this process as long as that is safe: with one thread, and before any other work. Common
modules are then imported once and not once for each host. That saves 130 ms of CPU per worker, of the 600 ms of an
apply without changes. A later worker, which replaces a dead one, is a new Python process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from reconciler.fleet.session import WorkerProcess
from reconciler.worker.__main__ import STOP_SIGNALS
from reconciler.worker.__main__ import main as serve

FAILED = 70
"""EX_SOFTWARE (sysexits.h): the worker ended by an exception that its loop did not catch."""


def start_local_worker() -> WorkerProcess:
    """Start a worker. The calling thread must live as long as the worker, which ends with it.

    It stays in this process group.
    """
    return _fork() if threading.active_count() == 1 else _execute()


class ForkedProcess:
    """A child of this process, as a `fleet.session.Process`; several threads may wait for its end."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        """`stdin` and `stdout` are this side's ends of the child's streams."""
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self.returncode: int | None = None
        self._reaping = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or the negative number of the signal. TimeoutExpired if it still runs after `timeout` seconds."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # another thread has waited for it in between
                self._await_end(timeout)
        with self._reaping:
            if self.returncode is None:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def _await_end(self, timeout: float | None) -> None:
        handle = os.pidfd_open(self.pid)
        try:
            if not select.select([handle], [], [], timeout)[0]:
                from subprocess import TimeoutExpired

                raise TimeoutExpired("worker", timeout or 0)
        finally:
            os.close(handle)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        with self._reaping:
            if self.returncode is None:
                os.kill(self.pid, signal.SIGKILL)


def _fork() -> WorkerProcess:
    words = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the worker runs
    requests, stdin = os.pipe()
    stdout, answers = os.pipe()
    # A signal waits: in this process until after the fork, because Python would lose its exception in a fork hook. In
    # the worker it waits for the handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if pid == 0:
        _be_worker(requests, answers, words.fileno())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(requests)
    os.close(answers)
    return WorkerProcess(ForkedProcess(pid, stdin, stdout), words)


def _be_worker(requests: int, answers: int, words: int) -> NoReturn:
    """Continue as a worker, in the new process. It closes all other files of this one: other workers wait for their end."""
    try:
        signal.set_wakeup_fd(-1)  # of a controller with an event loop
        for number, descriptor in enumerate((requests, answers, words)):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        serve()
    except BaseException:  # noqa: BLE001  it must not come back into the controller's code
        traceback.print_exc()
    os._exit(FAILED)


def _execute() -> WorkerProcess:
    """Start a new Python with this package's path. No environment variable changes the path."""
    import subprocess

    root = str(Path(__file__).resolve().parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); from reconciler.worker.__main__ import main; main()"
    words = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the worker runs
    process = subprocess.Popen([sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words)
    return WorkerProcess(process, words)
