"""The processes that netctl started, found by a mark in their environment, and the trustworthy parts of a mark.

Any user can write a mark into an environment, so a mark only says which container to compare with. Two facts decide,
which a user without privileges cannot forge. One is the network namespace of a process. The other is that root started
it in the worker's own user and process namespaces. The environment of a foreign process is never read. A pass over
/proc costs 5 µs for a process of the host's own namespace, 50 µs for one with a mark.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reconciler.kernel.context import KernelContext

ENVIRONMENT_MAX_BYTES = 8 << 20
"""The kernel accepts at most 6 MiB of arguments and environment (bprm_stack_limits in fs/exec.c).

A larger area was created later.
"""
PIECE_BYTES = 1 << 16
"""The size of one read; the kernel returns less only at the end."""
MARK_TIMEOUT_S = 1.0
POLL_S = 0.005
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""The errors in /proc of a process that has ended, or that this process may not read."""

_ONE_NUMBER = re.compile(rb"\nNSpid:\t\d+\n")
"""The line of a process in this process namespace; in an inner one it has several numbers."""

Identity = tuple[int, int]
"""Device and inode of a namespace on nsfs."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process and its start time (clock ticks since boot): another process may later get the same number."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """A live process with a mark. `is_roots` says that root started it, and not by a set-user-ID program."""

    running: Running
    netns: Identity
    environment: bytes
    is_roots: bool

    def value_of(self, variable: str) -> str | None:
        """The value of a variable, as text; None if the environment has none of that name."""
        start = (b"\0" + self.environment).find(b"\0" + variable.encode() + b"=")
        if start < 0:
            return None
        return self.environment[start:].partition(b"\0")[0].partition(b"=")[2].decode("utf-8", "replace")


def read_bearers(context: KernelContext, mark: bytes, inside: Collection[Identity] = ()) -> Iterator[Bearer]:
    """The processes whose environment has a variable that begins with `mark` (`NAME=topology/`).

    Processes of root are found in every namespace except the host's own; those of other users only in the namespaces
    `inside`.
    """
    hosts = {identity for path in (context.own_netns, context.machine_netns) if (identity := identify(path))}
    own = _Own.read()
    for pid in read_pids():
        if (netns := identify(f"/proc/{pid}/ns/net")) is None or netns in hosts:
            continue
        # The directory refers to this very process, even if another process gets its number.
        with contextlib.suppress(*GONE), _opened(pid) as process:
            is_foreign = not own.has(process)
            if is_foreign and netns not in inside:
                continue
            data = _read_environment(process)
            if mark not in data:
                continue
            by_root = not is_foreign and _has_only_root(process)
            started = _read_start(process)
            if started is not None and (by_root or netns in inside):
                yield Bearer(Running(pid, started), netns, data, by_root)


def read_named_bearers(mark: bytes, names: Collection[str]) -> Iterator[tuple[str, Bearer]]:
    """The processes with one of the names (proc(5), comm) and the mark, in any network, each with its name."""
    own = _Own.read()
    for pid in read_pids():
        with contextlib.suppress(*GONE), _opened(pid) as process:
            name = _read(process, "comm", PIECE_BYTES).decode("utf-8", "replace").strip()
            if name not in names or (netns := identify("ns/net", process)) is None:
                continue
            data = _read_environment(process)
            started = _read_start(process)
            if mark in data and started is not None:
                by_root = own.has(process) and _has_only_root(process)
                yield name, Bearer(Running(pid, started), netns, data, by_root)


@dataclass(frozen=True, slots=True)
class _Own:
    """The user namespace of this process, which a process started by netctl shares."""

    user: Identity | None

    @classmethod
    def read(cls) -> Self:
        return cls(identify("/proc/self/ns/user"))

    def has(self, process: int) -> bool:
        """Whether a process is in it, and its effective user is root or unknown (proc(5))."""
        return os.fstat(process).st_uid == 0 and identify("ns/user", process) == self.user


def _has_only_root(process: int) -> bool:
    """Whether root runs it in this process namespace: the real, effective, saved and file system user are all 0 (proc(5)).

    A set-user-ID program may have these, too: sudo(8) before it asks for a password, with an environment of its
    caller's.
    """
    data = _read(process, "status", PIECE_BYTES)
    if b"\nUid:\t0\t0\t0\t0\n" not in data or not _ONE_NUMBER.search(data):
        return False
    return not os.stat("exe", dir_fd=process).st_mode & (stat.S_ISUID | stat.S_ISGID)


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(process: int, name: str, size_max: int) -> bytes:
    """A file of a process, at most about `size_max` bytes. OSError if the process has ended."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        data = part = os.read(descriptor, PIECE_BYTES)
        while len(part) == PIECE_BYTES and len(data) < size_max:
            part = os.read(descriptor, PIECE_BYTES)
            data += part
        return data
    finally:
        os.close(descriptor)


def is_roots(pid: int) -> bool:
    """Whether root started the process, in the namespaces of this one, and not by a set-user-ID program."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _Own.read().has(process) and _has_only_root(process)
    return False


def identify(path: str | Path, directory: int | None = None) -> Identity | None:
    """Device and inode of a namespace; None if it does not exist."""
    try:
        status = os.stat(path, dir_fd=directory)
    except GONE:
        return None
    return status.st_dev, status.st_ino


def read_pids() -> list[int]:
    """All processes."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def read_environment(pid: int) -> bytes:
    """The initial environment of a process; empty for one that has ended, and for the kernel's own (proc(5))."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _read_environment(process)
    return b""


def _read_environment(process: int) -> bytes:
    """Only its first ENVIRONMENT_MAX_BYTES: a process can make it as large as its memory."""
    try:
        return _read(process, "environ", ENVIRONMENT_MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # it has released its memory
            return b""
        raise


def read_session(pid: int) -> int | None:
    """The session of a process; None if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def read_start(pid: int) -> int | None:
    """The start time of a process, in clock ticks since boot; None if it has ended."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _read_start(process)
    return None


def _read_start(process: int) -> int | None:
    # The state follows the name, which is in parentheses and may contain anything (proc(5)).
    words = _read(process, "stat", PIECE_BYTES).rpartition(b") ")[2].split()
    return int(words[19]) if len(words) > 19 and words[0] not in (b"Z", b"X") else None


def send_signal(running: Running, number: signal.Signals) -> None:
    """Send a signal to a process; one that has ended gets none, because its number may be another's by now."""
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor refers to one process, so the compared process gets the signal.
        if read_start(running.pid) == running.started:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def wait_until_marked(pids: Iterable[int]) -> None:
    """Return when the environment of each process can be read, or it has ended.

    The kernel lets a spawn return when the new program has its memory, a moment before that contains its environment.
    """
    deadline = time.monotonic() + MARK_TIMEOUT_S
    for pid in pids:
        while not read_environment(pid) and is_alive(pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def wait_until_gone(processes: Iterable[Running], timeout_s: float) -> list[Running]:
    """Return when none of the processes runs, or after `timeout_s`: those that still run."""
    deadline = time.monotonic() + timeout_s
    left = [one for one in processes if is_running(one)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [one for one in left if is_running(one)]
    return left


def is_running(running: Running) -> bool:
    """Whether that very process runs."""
    return is_alive(running.pid) and read_start(running.pid) == running.started


def is_alive(pid: int) -> bool:
    """Whether a process runs. An ended child of this process is reaped."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    return read_start(pid) is not None
