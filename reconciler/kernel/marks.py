"""The processes that netctl started, found by a mark in their environment, and what of a mark can be believed.

Called by `process` and `dhcp`. Any user can put a mark into an environment, so a mark says only which container to compare
with. What a user without privileges cannot forge decides: the network namespace of a process, and that root started it in the
worker's own user and process namespaces. The environment of a stranger is never read. A pass over /proc costs 5 µs for a
process of the host's own namespace, 30 µs for another.
"""

from __future__ import annotations

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
        netns = identify(f"/proc/{pid}/ns/net")
        if netns is None or netns in hosts:
            continue
        started = read_start(pid)
        by_root = own.has_root(pid)
        if started is None or not (by_root or netns in inside):
            continue
        data = read_environment(pid)
        if mark in data:
            variables = dict(word.partition(b"=")[::2] for word in data.split(b"\0"))
            yield Bearer(Running(pid, started), netns, variables, by_root)


@dataclass(frozen=True, slots=True)
class _Own:
    """The namespaces of this process that a process started by netctl shares."""

    user: Identity | None
    pid: Identity | None

    @classmethod
    def read(cls) -> Self:
        return cls(identify("/proc/self/ns/user"), identify("/proc/self/ns/pid"))

    def has_root(self, pid: int) -> bool:
        """Whether root started the process: all its user numbers are 0, and its program does not change them."""
        try:
            # The owner is another's for most processes that are not ours, and costs least.
            if os.stat(f"/proc/{pid}").st_uid != 0 or identify(f"/proc/{pid}/ns/pid") != self.pid:
                return False
            if identify(f"/proc/{pid}/ns/user") != self.user or not _has_only_root(pid):
                return False
            # sudo(8) is all root before it has asked for a password, with an environment of its caller's.
            return not os.stat(f"/proc/{pid}/exe").st_mode & (stat.S_ISUID | stat.S_ISGID)
        except GONE:
            return False


def _has_only_root(pid: int) -> bool:
    """Whether the real, effective, saved and file system user are all root (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
        if line.startswith(b"Uid:"):
            return line.split()[1:] == [b"0"] * 4
    return False


def is_roots(pid: int) -> bool:
    """Whether root started the process, in the namespaces of this one, and not by a set-user-ID program."""
    return _Own.read().has_root(pid)


def identify(path: str | Path) -> Identity | None:
    """Device and inode of a namespace; None if it is not there."""
    try:
        status = os.stat(path)
    except GONE:
        return None
    return status.st_dev, status.st_ino


def read_pids() -> list[int]:
    """All processes."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def read_environment(pid: int) -> bytes:
    """The environment that a process was given; empty for one that has ended, and for the kernel's own (proc(5)).

    Only its first ENVIRONMENT_MAX_BYTES are read: a process can make it as large as its memory.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except GONE:
        return b""
    try:
        data = bytearray()
        while len(data) < ENVIRONMENT_MAX_BYTES and (part := os.read(descriptor, 1 << 16)):
            data += part
        return bytes(data)
    except OSError:  # EIO: the process has taken its memory away
        return b""
    finally:
        os.close(descriptor)


def read_session(pid: int) -> int | None:
    """The session of a process; None if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def read_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it has ended."""
    words = _read_stat(pid)
    return int(words[19]) if len(words) > 19 and words[0] not in (b"Z", b"X") else None


def _read_stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on: they follow the name in parentheses, which may hold anything (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except GONE:
        return []


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
