"""A machine of the test's own: a process tree with its own network, mounts and processes, in which netctl runs as on any host.

Nothing in it is seen by, or sees, the rest of the computer. At the start /run is empty, and /proc shows its own processes. The
"host" that `connect: local` means is its network namespace. So a test can claim of everything that nothing is left, whatever else
runs beside it. A test that failed leaves nothing either: the kernel ends all of the machine with its first process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from tests.harness.mounts import CLONE_NEWNS, check_private_run
from tests.harness.netctl import DEFECTS, Outcome
from tests.harness.spawn import spawn

CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000  # linux/sched.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SPACES = (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS), ("pid", CLONE_NEWPID))

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@dataclass(slots=True)
class Running:
    """A process in a machine: `pid` as this side sees it. `wait` gives what it printed."""

    pid: int
    out: IO[bytes]
    err: IO[bytes]
    _wait: Callable[[float], int]
    status: int | None = None

    def wait(self, timeout_s: float = 60) -> Outcome:
        """How it ended: its status, or 128 and the number of the signal, as a shell has it."""
        if self.status is None:
            self.status = 128 + signal.SIGKILL  # if it is late
            self.status = self._wait(timeout_s)
        for stream in (self.out, self.err):
            stream.seek(0)
        outcome = Outcome(self.status, self.out.read().decode(), self.err.read().decode())
        self.close()
        if any(words in outcome.out + outcome.err for words in DEFECTS):
            pytest.fail(f"netctl met a defect:\n{outcome.err}{outcome.out}")
        return outcome

    def close(self) -> None:
        """Take leave of it; for one that is waited for no longer, its machine having ended."""
        if self.status is None:
            self.status = self._wait(60)
        self.out.close()
        self.err.close()

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the process itself; it may have ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(slots=True)
class Machine:
    """What is inside is reached by `enter`; `first` is its first process, whose end is the end of all."""

    first: int
    folder: Path
    """Where a test's files are; the same inside and outside."""
    lifeline: int
    """A pipe that the first process watches: it ends when the test runner does."""
    started: list[Running] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> Machine:
        """Start it: its loopback is up, and it has nothing else."""
        reading, writing = os.pipe()
        watched, lifeline = os.pipe()
        outer = os.fork()
        if outer == 0:
            _be_machine(writing, watched)
        os.close(writing)
        os.close(watched)
        with os.fdopen(reading) as stream:
            told = stream.read().split()
        os.waitpid(outer, 0)
        assert len(told) == 2, "the machine could not be made"
        made = cls(int(next(word for word in told if word.isdigit())), folder, lifeline)
        try:
            check_private_run(made.first, made.entering())
        except BaseException:
            made.end()
            raise
        return made

    def end(self) -> None:
        """Kill everything in it, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        os.close(self.lifeline)
        for running in self.started:
            running.close()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{self.first}/ns/net").exists() and time.monotonic() < deadline:
            time.sleep(0.005)

    # --- what runs in it ----------------------------------------------------------------------------------------------

    def start(self, body: Callable[[], int], netns: str = "") -> Running:
        """Run `body` in a process of the machine, forked from this one; its result is the status that it ends with."""
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  read by `Running.wait`
        reading, writing = os.pipe()
        outer = os.fork()
        if outer == 0:
            self._carry(body, netns, out.fileno(), err.fileno(), writing)
        os.close(writing)
        with os.fdopen(reading) as stream:
            pid = int(stream.readline())
        running = Running(pid, out, err, lambda timeout_s: _wait_for(outer, pid, timeout_s))
        self.started = [each for each in self.started if not each.out.closed] + [running]
        return running

    def _carry(self, body: Callable[[], int], netns: str, out: int, err: int, writing: int) -> None:
        """In the forked process: enter, fork once more (the first process in a new pid space is a child), and hand on."""
        try:
            _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            descriptors = [(os.open(f"/proc/{self.first}/ns/{name}", os.O_RDONLY), flag) for name, flag in SPACES]
            for descriptor, flag in descriptors:
                _call("setns", descriptor, flag)
            if netns:
                _call("setns", os.open(f"/run/netns/{netns}", os.O_RDONLY), CLONE_NEWNET)
            inner = os.fork()
            if inner == 0:
                _be_process(body, out, err)
            os.write(writing, f"{inner}\n".encode())
            os.close(writing)
            _, code = os.waitpid(inner, 0)
            if os.WIFSIGNALED(code):
                os._exit(128 + os.WTERMSIG(code))
            os._exit(os.WEXITSTATUS(code))
        finally:
            os._exit(125)

    def entering(self) -> tuple[str, ...]:
        """The words before a command that is to run in the machine."""
        return ("nsenter", f"--target={self.first}", "--net", "--mount", "--pid")

    def run(self, *command: str, text: str | None = None, check: bool = True, netns: str = "") -> Outcome:
        """A command in the machine, or in one of its namespaces; with `check`, a failure fails the test."""
        inside = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
        entered = [*self.entering(), *inside, *command]
        done = subprocess.run(entered, input=text, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            pytest.fail(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr or done.stdout}")
        return Outcome(done.returncode, done.stdout, done.stderr)

    def sh(self, script: str, netns: str = "") -> str:
        """What a shell script prints."""
        return self.run("sh", "-eu", "-s", text=script, netns=netns).out

    def start_command(self, *command: str, netns: str = "") -> Running:
        """Start a command and go on."""
        return self.start(lambda: os.execvp(command[0], command), netns)

    def start_netctl(self, *arguments: str | Path) -> Running:
        """Start the command as users do, as a program of its own."""
        command = [sys.executable, "-m", "reconciler", *map(str, arguments)]
        return self.start(lambda: os.execve(command[0], command, {**os.environ, "NO_COLOR": "1"}))

    def exec_netctl(self, *arguments: str | Path) -> Outcome:
        """The command as a program of its own, to its end."""
        return self.start_netctl(*arguments).wait(120)

    def netctl(self, *arguments: str | Path) -> Outcome:
        """The command as users run it, to its end; a copy of a process that has imported it (see `spawn`)."""
        if os.environ.get("EXEC"):
            return self.exec_netctl(*arguments)
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  read by `Running.wait`
        nothing = os.open(os.devnull, os.O_RDWR)
        spaces = [(os.open(f"/proc/{self.first}/ns/{name}", os.O_RDONLY), flag) for name, flag in SPACES]
        try:
            streams = (nothing, out.fileno(), err.fileno())
            netctl = spawn([*map(str, arguments)], {**os.environ, "NO_COLOR": "1"}, streams, spaces)
        finally:
            for descriptor in (nothing, *(space for space, _ in spaces)):
                os.close(descriptor)

        def wait(timeout_s: float) -> int:
            code = netctl.wait(timeout_s)
            return 128 + os.WTERMSIG(code) if os.WIFSIGNALED(code) else os.WEXITSTATUS(code)

        return Running(netctl.pid, out, err, wait).wait(120)


def _be_machine(writing: int, watched: int) -> None:
    """The first process: makes the machine, says so, and takes leave of every process that loses its parent."""
    try:
        _call("unshare", CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID)
        inner = os.fork()
        if inner:
            os.write(writing, f"{inner}\n".encode())
            os._exit(0)
        os.setsid()
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        _call("mount", b"proc", b"/proc", b"proc", 0, None)
        _call("mount", b"tmpfs", b"/run", b"tmpfs", 0, None)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        os.write(writing, b"ready\n")
        os.dup2(watched, 0)
        os.closerange(1, 1024)
        os.set_blocking(0, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        while not _is_cut(0):
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            signal.sigtimedwait({signal.SIGCHLD}, 1)
    finally:
        os._exit(125)


def _is_cut(descriptor: int) -> bool:
    """Whether no process holds the other end of the pipe any more."""
    try:
        return os.read(descriptor, 1) == b""
    except BlockingIOError:
        return False


def _be_process(body: Callable[[], int], out: int, err: int) -> None:
    """A process of the machine: nothing of the test runner's is left in it but memory."""
    status = 125
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number, descriptor in enumerate((nothing, out, err)):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        status = body()
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  a defect of the test's own, reported like one of netctl's
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)


def _wait_for(outer: int, pid: int, timeout_s: float) -> int:
    """The status of the process; `outer` waits for it. One that is late is killed, or its parent would leave it as a zombie."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found, code = os.waitpid(outer, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(code)
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(outer, 0)
    pytest.fail(f"a process of the machine did not end within {timeout_s:.0f} s")
