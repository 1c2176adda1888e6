"""The processes that netctl started, found by a mark in their environment, and what of a mark can be believed.

Called by `process` and `dhcp`. Any user can put a mark into an environment, so a mark says only which container to compare
with. What a user without privileges cannot forge decides: the network namespace of a process, and that root started it in the
worker's own user and process namespaces. The environment of a stranger is never read. A pass over /proc costs 5 µs for a
process of the host's own namespace, 30 µs for another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reconciler.kernel.context import KernelContext

ENVIRONMENT_MAX_BYTES = 8 << 20
"""The kernel takes at most 6 MiB of arguments and environment (bprm_stack_limits in fs/exec.c); a larger area was made later."""
MARK_TIMEOUT_S = 1.0
POLL_S = 0.005
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What /proc says of a process that has ended meanwhile, or is not for us to look at."""

Identity = tuple[int, int]
"""Device and inode of a namespace on nsfs."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process, and when it started (clock ticks since boot): the number alone goes to another process some time."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """A live process that carries a mark. `is_roots` says that root started it, and not by a set-user-ID program."""

    running: Running
    netns: Identity
    variables: Mapping[bytes, bytes]
    is_roots: bool


def read_bearers(context: KernelContext, mark: bytes, inside: Collection[Identity] = ()) -> Iterator[Bearer]:
    """The processes whose environment has a variable that begins with `mark` (`NAME=topology/`).

    Processes of root are found in every namespace except the host's own; those of other users only in the namespaces `inside`.
    """
    hosts = {identity for path in (context.own_netns, context.machine_netns) if (identity := identify(path))}
    own = _Own.read()
    for pid in read_pids():
        if (netns := identify(f"/proc/{pid}/ns/net")) is None or netns in hosts:
            continue
        # The directory stands for this very process, though its number may go to another.
        with contextlib.suppress(*GONE), _opened(pid) as process:
            if (bearer := _read_bearer(pid, process, mark, own, inside)) is not None:
                yield bearer


def _read_bearer(pid: int, process: int, mark: bytes, own: _Own, inside: Collection[Identity]) -> Bearer | None:
    """What is known of one process, by its open directory. The cheap questions come first. OSError if it has ended."""
    status = os.stat("ns/net", dir_fd=process)
    netns = status.st_dev, status.st_ino
    is_stranger = not own.has(process)
    if is_stranger and netns not in inside:
        return None
    data = _read_environment(process)
    if mark not in data:
        return None
    by_root = not is_stranger and _has_only_root(process)
    if not by_root and netns not in inside:
        return None
    started = _read_start(process)
    variables = dict(word.partition(b"=")[::2] for word in data.split(b"\0"))
    return None if started is None else Bearer(Running(pid, started), netns, variables, by_root)


@dataclass(frozen=True, slots=True)
class _Own:
    """The namespaces of this process that a process started by netctl shares."""

    user: Identity | None
    pid: Identity | None

    @classmethod
    def read(cls) -> Self:
        return cls(identify("/proc/self/ns/user"), identify("/proc/self/ns/pid"))

    def has(self, process: int) -> bool:
        """Whether a process is in them, and its effective user is root or not known (proc(5))."""
        is_root = os.fstat(process).st_uid == 0
        return is_root and identify("ns/pid", process) == self.pid and identify("ns/user", process) == self.user


def _has_only_root(process: int) -> bool:
    """Whether the real, effective, saved and file system user are all root (proc(5)), and the program does not change them."""
    data = _read(process, "status", 1 << 16)
    line = next((line for line in data.split(b"\n") if line.startswith(b"Uid:")), b"")
    # sudo(8) is all root before it has asked for a password, with an environment of its caller's.
    return line.split()[1:] == [b"0"] * 4 and not os.stat("exe", dir_fd=process).st_mode & (stat.S_ISUID | stat.S_ISGID)


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(process: int, name: str, size_max: int) -> bytes:
    """A file of a process, up to about `size_max` bytes of it. OSError if the process has ended."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    try:
        data = bytearray()
        while len(data) < size_max and (part := os.read(descriptor, 1 << 16)):
            data += part
        return bytes(data)
    finally:
        os.close(descriptor)


def is_roots(pid: int) -> bool:
    """Whether root started the process, in the namespaces of this one, and not by a set-user-ID program."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _Own.read().has(process) and _has_only_root(process)
    return False


def identify(path: str | Path, directory: int | None = None) -> Identity | None:
    """Device and inode of a namespace; None if it is not there."""
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
    """The environment that a process was given; empty for one that has ended, and for the kernel's own (proc(5))."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _read_environment(process)
    return b""


def _read_environment(process: int) -> bytes:
    """Only its first ENVIRONMENT_MAX_BYTES: a process can make it as large as its memory."""
    try:
        return _read(process, "environ", ENVIRONMENT_MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # it has taken its memory away
            return b""
        raise


def read_session(pid: int) -> int | None:
    """The session of a process; None if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def read_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended."""
    with contextlib.suppress(*GONE), _opened(pid) as process:
        return _read_start(process)
    return None


def _read_start(process: int) -> int | None:
    # The state follows the name, which stands in parentheses and may hold anything (proc(5)).
    words = _read(process, "stat", 1 << 16).rpartition(b") ")[2].split()
    return int(words[19]) if len(words) > 19 and words[0] not in (b"Z", b"X") else None


def send_signal(running: Running, number: signal.Signals) -> None:
    """Send a signal to a process; one that has ended needs none, and its number may be another's by now."""
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        # The handle holds on to the process, so what is compared now is what gets the signal.
        if read_start(running.pid) == running.started:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def wait_until_marked(pids: Iterable[int]) -> None:
    """Return when the environment of each process can be read, or it has ended.

    The kernel lets a spawn return when the new program has its memory, a moment before it has its environment there.
    """
    deadline = time.monotonic() + MARK_TIMEOUT_S
    for pid in pids:
        while not read_environment(pid) and is_alive(pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def wait_until_gone(processes: Iterable[Running], timeout_s: float) -> list[Running]:
    """Return when none of the processes runs, or after `timeout_s`: those that still do."""
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
    """Whether a process runs. One that has ended is taken off the list of processes, where it is a child of ours."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    return read_start(pid) is not None
