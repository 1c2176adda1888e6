"""One netctl at a time on a host: a lock that the kernel releases when its holder dies, and a description of the holder.

The lock is flock(2) on /run/netctl/<host key>/lock. The file's content is for users. It is also for the next worker if
the holder has lost its controller and is rolling back. Such an orphan is killed and replaced: it leaves what a kill
leaves. The file may be deleted at the end. So a process that gets the lock checks that its file is still the one at the
path.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

from reconciler.errors import HostError, LockedError, help_for
from reconciler.kernel.context import KernelContext
from reconciler.kernel.processes.marks import read_start
from reconciler.kernel.run_directory.flock import POLL_S, is_locked_by_others_only, try_lock
from reconciler.kernel.run_directory.private import FILE_MODE, OTHERS, make_directory
from reconciler.state.host import Occupancy
from reconciler.state.jsontext import parse_json

OPEN_TRIES = 1000
"""The tries against others that delete the directory at the same moment; a file in its place must not be tried without end."""

NOTICE_TIMEOUT_S = 1.0
"""The time that a worker on a connection may need to notice, and to note, that it has become an orphan."""
KILL_TIMEOUT_S = 5.0
"""The time that an orphan may take to end: a blocked system call of it holds the lock for as long."""
BRIEF_TIMEOUT_S = 60.0
"""How long a command waits for the cycle of an agent."""
HOLDER_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """The content of the file: the process for users to look for, and the worker itself."""

    pid: int
    command: str
    since: str
    worker: int
    run: str = ""
    """The run of a remote controller; "" for a worker that ends with its controller."""
    orphan: bool = False
    """Whether it has lost that controller."""
    brief: bool = False
    """Whether it is an agent, which holds the lock for one cycle only: others wait for it."""

    def __str__(self) -> str:
        """The holder for users: `process 4711 (netctl apply shop.yaml), since 2026-11-22T12:00:00Z`."""
        return f"process {self.pid} ({self.command}), since {self.since}"


class HostLock:
    """The lock of one host, held from `take` to `release`."""

    def __init__(self, context: KernelContext) -> None:
        """It does not lock yet."""
        self._path = context.host_directory / "lock"
        self._descriptor = -1
        self._holder: Holder | None = None
        self._writing = threading.Lock()

    def take(self, command: str, pid: int | None = None, run: str = "", *, brief: bool = False) -> Self:
        """Take the lock for `command`; `pid` is the process for users to look for (by default this one).

        A `brief` holder is an agent: it waits for no other process, and commands wait for it.

        `run` identifies a remote controller: a worker of the same run has lost its connection, and is replaced.
        LockedError, naming the holder, if another has it; HostError if the file cannot be created.
        """
        begun = time.monotonic()
        while True:
            descriptor, is_exposed = self._open()
            if try_lock(descriptor):
                if _is_file(descriptor, self._path):
                    break
                os.close(descriptor)  # it was deleted between the opening and the locking
                continue
            if is_exposed and is_locked_by_others_only(descriptor):
                self._path.unlink(missing_ok=True)  # an earlier version left it open to all; the next one is not
                os.close(descriptor)
                continue
            holder = parse_holder(os.pread(descriptor, HOLDER_MAX_BYTES, 0))
            os.close(descriptor)
            waited_s = time.monotonic() - begun
            waits = holder is not None and holder.brief and not brief and waited_s < BRIEF_TIMEOUT_S
            if not waits and not self._gives_way(holder, run, waited_s):
                raise LockedError(
                    f"another netctl is at work on this host: {holder or 'a process that is not described yet'}",
                    "wait until it is done, or end it; the next apply continues from there",
                )
            time.sleep(POLL_S)
        os.fchmod(descriptor, FILE_MODE)
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)  # a dead holder is not the current one
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._write(Holder(os.getpid() if pid is None else pid, command, since, os.getpid(), run, brief=brief))
        except OSError as error:
            self.release(remove=True)
            raise HostError(f"cannot write {self._path}: {error.strerror}", help_for(error)) from error
        return self

    def mark(self, *, orphan: bool) -> None:
        """Note in the file whether the controller is lost, if that has changed. From any thread; no effect without the lock."""
        with self._writing, contextlib.suppress(OSError):  # a full disk is no reason to fail now
            if self._holder and self._holder.orphan != orphan:
                self._write(replace(self._holder, orphan=orphan))

    def _write(self, holder: Holder) -> None:
        """First the line, then the end of the file: a concurrent reader finds a whole line, or nothing yet."""
        line = render_holder(holder).encode()
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))
        self._holder = holder

    def _gives_way(self, holder: Holder | None, run: str, waited_s: float) -> bool:
        """Whether to try again: the holder is ending, or is an orphan, which is killed here, or will soon be described."""
        if holder is None:
            return waited_s < NOTICE_TIMEOUT_S
        if not holder.run:
            # The worker of a controller on this machine ends with it, a moment later.
            return read_start(holder.pid) is None and waited_s < KILL_TIMEOUT_S
        if not (holder.orphan or holder.run == run) or not _kill_holder(holder.worker, self._path):
            return waited_s < NOTICE_TIMEOUT_S
        return waited_s < KILL_TIMEOUT_S

    def release(self, remove: bool = False) -> None:
        """Release the lock. With `remove`, delete the file too, and its directory if it is empty."""
        if self._descriptor < 0:
            return
        with self._writing:
            if remove:
                # Still locked: a process that waits for it finds another file, or none, at the path, and starts again.
                self._path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self._path.parent.rmdir()
                    self._path.parent.parent.rmdir()
            os.close(self._descriptor)
            self._descriptor, self._holder = -1, None

    def _open(self) -> tuple[int, bool]:
        """A descriptor of the file, and whether other users could open it until now."""
        for _ in range(OPEN_TRIES):
            try:
                is_exposed = _is_exposed(self._path)
                make_directory(self._path.parent)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                return os.open(self._path, flags, FILE_MODE), is_exposed
            except (FileNotFoundError, FileExistsError):
                continue  # another's release deleted the directory in between
            except OSError as error:
                raise HostError(f"cannot create {self._path}: {error.strerror}", help_for(error)) from error
        raise HostError(f"cannot create {self._path}", f"check that {self._path.parent} is a directory")


def read_occupancy(context: KernelContext) -> Occupancy:
    """The holder of the host's lock. It takes no lock, which could block another's."""
    path = context.host_directory / "lock"
    holder = None
    with contextlib.suppress(OSError):
        holder = parse_holder(path.read_bytes()[:HOLDER_MAX_BYTES])
    held = holder is not None and _has_open(holder.worker, path)
    with contextlib.suppress(OSError):
        status = context.host_directory.stat()
        return Occupancy(str(holder) if held else "", f"{status.st_ino} {status.st_mtime_ns}")
    return Occupancy(stamp="none")


def _is_exposed(path: Path) -> bool:
    """Whether others than the owner may open the file, if it exists."""
    try:
        return bool(path.lstat().st_mode & OTHERS)
    except FileNotFoundError:
        return False


def _kill_holder(pid: int, path: Path) -> bool:
    """Kill the process, if it has the file open. Its number may be reused at any moment, its descriptor is not."""
    try:
        handle = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        if not _has_open(pid, path):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    finally:
        os.close(handle)


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open: the number in the file may have been reused."""
    try:
        wanted = path.stat()
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return any(os.path.samestat(os.stat(entry.path), wanted) for entry in entries)
    except OSError:  # one of them does not exist any more
        return False


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def render_holder(holder: Holder) -> str:
    """The content of the lock file."""
    return json.dumps(asdict(holder)) + "\n"


def parse_holder(data: bytes) -> Holder | None:
    """The holder in the lock file; None if it is empty or malformed."""
    try:
        holder = Holder(**parse_json(data.partition(b"\n")[0], HOLDER_MAX_BYTES))
    except (ValueError, TypeError):
        return None
    types = {each.name: str if each.type == "str" else bool if each.type == "bool" else int for each in fields(Holder)}
    return holder if all(type(getattr(holder, name)) is kind for name, kind in types.items()) and holder.worker > 0 else None
