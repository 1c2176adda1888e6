"""The records of starts, /run/netctl/.hook/IDENTITY: the reading side of `kernel.starts.program`.

A record is true as long as the process that it names lives. While the start waits, its hook holds a lock on the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.kernel.run_directory.private import check_directories
from reconciler.kernel.starts import program
from reconciler.state.jsontext import MalformedError, parse_json
from reconciler.state.starts import StartAnswer, WaitingStart
from reconciler.state.visible import visible_line

DIRECTORY = Path(program.DIRECTORY)
IDENTITY = re.compile(r"[0-9a-f]{64}")
RECORD_MAX_BYTES = 1 << 20
REASON_MAX = 500
FORMLESS = (OSError, MalformedError, KeyError, TypeError, ValueError)
"""The exceptions of a file that is gone, or no record."""


@dataclass(frozen=True, slots=True)
class Start:
    """A container that started by the hook. `root` is the data directory of its dockerd."""

    waiting: WaitingStart
    root: str
    is_alive: bool
    """Whether the process of this start still runs."""
    waits: bool
    """Whether the hook waits for an answer."""
    answered: tuple[str, ...] = ()
    """The topologies that have answered."""

    @property
    def pid(self) -> int:
        """The container's first process; 0 if it has ended."""
        return self.waiting.pid if self.is_alive else 0


def read_starts(directory: Path = DIRECTORY) -> tuple[Start, ...]:
    """All starts that are known. HostError if the directory is not root's alone. A file that is no record is left out."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return ()
    check_directories(directory.parent, directory)
    return tuple(start for name in names if IDENTITY.fullmatch(name) and (start := _read_start(directory / name)))


def _read_start(path: Path) -> Start | None:
    with contextlib.suppress(*FORMLESS), _opened(path) as descriptor:
        data = os.pread(descriptor, RECORD_MAX_BYTES, 0)
        waiting, root = _parse_record(data)
        if waiting.identity != path.name:
            return None
        is_alive = _is_alive(waiting)
        answers = tuple(program.parse_answers(data))
        return Start(waiting, root, is_alive, is_alive and _is_locked(descriptor), answers)
    return None


def _parse_record(data: bytes) -> tuple[WaitingStart, str]:
    """The first line. MalformedError, KeyError, TypeError and ValueError if it is none."""
    found: Any = parse_json(data.partition(b"\n")[0], RECORD_MAX_BYTES)
    pid, began, hook = (int(found[key]) for key in ("pid", "began", "hook"))
    return WaitingStart(str(found["identity"]), str(found["name"]), pid, began, hook), str(found["root"])


def _is_alive(waiting: WaitingStart) -> bool:
    """Whether the process runs, and is no later one of the same number."""
    try:
        return program.read_start_time(waiting.pid) == waiting.began and os.path.exists(f"/proc/{waiting.pid}/ns/net")
    except (OSError, IndexError, ValueError):
        return False


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def write_answer(topology: str, answer: StartAnswer, directory: Path = DIRECTORY) -> None:
    """Answer a start. One that has ended meanwhile, or is a later one of the same container, gets none."""
    reason = visible_line(answer.reason).replace("\n", " ")[:REASON_MAX]
    line = f"{topology} {answer.word} {reason}".rstrip() + "\n"
    path = directory / answer.start.identity
    with contextlib.suppress(*FORMLESS), _opened(path, os.O_RDWR | os.O_APPEND) as descriptor:
        if _parse_record(os.pread(descriptor, RECORD_MAX_BYTES, 0))[0] == answer.start and _is_locked(descriptor):
            os.write(descriptor, line.encode())


def forget_gone(identities: Collection[str], directory: Path = DIRECTORY) -> None:
    """Delete the records of processes that have ended, unless their container is among the `identities` that are left."""
    for start in read_starts(directory):
        if not start.is_alive and start.waiting.identity not in identities:
            with contextlib.suppress(OSError):
                os.unlink(directory / start.waiting.identity)
