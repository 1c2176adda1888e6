"""One netctl at a time on a host: a lock that the kernel takes back when its holder dies, and that says who holds it.

Called by the worker before it reads. The lock is flock(2) on /run/netctl/<host key>/lock; what stands in the file is for
people. The file may be removed at the end, so whoever gets the lock checks that the file it locked is still the one there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Self

from reconciler.errors import HostError, LockedError
from reconciler.kernel.context import KernelContext

OPEN_TRIES = 1000
"""Against others that remove the directory at the same moment; a file in its place must not be tried for ever."""


class HostLock:
    """The lock of one host, held from `take` to `release`."""

    def __init__(self, context: KernelContext) -> None:
        """Nothing is locked yet."""
        self._path = context.host_directory / "lock"
        self._descriptor = -1

    def take(self, command: str, pid: int | None = None) -> Self:
        """Take the lock for `command`; `pid` is the process that people should look for (this one, where left out).

        LockedError, naming the holder, where another has it; HostError where the file cannot be made.
        """
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = parse_holder(os.pread(descriptor, 4096, 0))
                os.close(descriptor)
                raise LockedError(
                    f"another netctl is at work on this host: {holder}",
                    "wait until it is done, or end it; what it leaves, the next apply takes over",
                ) from error
            if _is_file(descriptor, self._path):
                break
            os.close(descriptor)  # it was removed between the opening and the locking
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, render_holder(os.getpid() if pid is None else pid, command).encode(), 0)
        self._descriptor = descriptor
        return self

    def release(self, remove: bool = False) -> None:
        """Let go. With `remove`, the file goes too, and its directory where nothing else is in it."""
        if self._descriptor < 0:
            return
        if remove:
            # Still locked: whoever waits for it finds another file, or none, at the path, and starts again.
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()
        os.close(self._descriptor)
        self._descriptor = -1

    def _open(self) -> int:
        for _ in range(OPEN_TRIES):
            try:
                self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except (FileNotFoundError, FileExistsError):
                continue  # another's release removed the directory in between
            except OSError as error:
                raise HostError(f"{self._path} cannot be made: {error.strerror}", "netctl needs root on this host") from error
        raise HostError(f"{self._path} cannot be made", f"is {self._path.parent} a directory?")


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def render_holder(pid: int, command: str) -> str:
    """What stands in the lock file."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"pid": pid, "command": command, "since": since}) + "\n"


def parse_holder(data: bytes) -> str:
    """For people: `process 4711 (netctl apply shop.yaml), since 2026-11-22T12:00:00Z`."""
    try:
        holder = json.loads(data)
        return f"process {holder['pid']} ({holder['command']}), since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not yet said who it is"
