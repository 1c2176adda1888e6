"""Every error that netctl reports, as one tree; each class carries its exit status.

    NetctlError
    ├── ProtocolError       5  a request that a worker cannot answer: of no known form, or not in its state
    ├── UsageError          2  the file or the command line is wrong
    │   └── TopologyError   2  the topology file: a list of faults, each with its position
    ├── HostError           3  a host is unreachable, lacks something, or has a conflicting foreign resource
    │   ├── SilentError     3  a program on it gives no answer in time
    │   └── AwayError       3  a program on it does not run
    ├── RolledBackError     4  an apply failed, and every host is in the state before
    ├── LeftoverError       5  an apply or destroy failed, and something is left
    ├── VerificationError   6  a probe found what the file does not say
    ├── LockedError         7  another netctl has the host's lock
    └── DeclinedError     130  the user has declined, before anything was changed

Foreign exceptions (OSError, pydantic's, docker's) are translated at their origin, so that only these errors reach
`cli`. Each has a sentence for the user, and a help line with advice.

Every start of netctl reads this module, so it has no dataclass: importing `dataclasses` takes a fifth of the time of
`netctl --help`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import ClassVar, NamedTuple


class NetctlError(Exception):
    """The error in one sentence, and the advice for the user."""

    exit_status: ClassVar[int] = 5

    def __init__(self, message: str, help_text: str = "") -> None:
        """`message` describes the error; `help_text`, if given, is the advice."""
        super().__init__(message)
        self.is_after_answer = False
        """Whether the command has printed its JSON document already."""
        self.message = message
        self.help_text = help_text


def help_for(error: OSError) -> str:
    """The advice if the kernel rejects a file or a namespace; "" if the error says all there is (errno(3))."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return "netctl needs root on this host: run it with sudo"
    return _HELP.get(error.errno or 0, "")


SHORT_OF_MEMORY = "the host is short of memory, or a limit is too low: free -h, ulimit -v, memory.max of the control group"
SHORT_OF_PROCESSES = "raise the limit of processes: ulimit -u, pids.max of the control group"
NO_THREAD = "can't start new thread"
"""Python's message (RuntimeError) if the kernel starts no thread: without a free process number, or memory for its stack."""
_HELP = {
    errno.EROFS: "that file system is mounted read-only; /run must be writable: mount -o remount,rw /run",
    errno.ENOSPC: "that file system is full; make room: df -h /run, df -i /run",
    errno.EDQUOT: "that file system is full; make room: df -h /run, df -i /run",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENFILE: "raise the machine's limit of open files: sysctl -w fs.file-max=NUMBER",
    errno.ENOTDIR: "look at it, then remove it: it is not a directory",
    errno.EISDIR: "look at it, then remove it: it is a directory",
    errno.ELOOP: "look at it, then remove it: it is a symbolic link",
    errno.ENOMEM: SHORT_OF_MEMORY,
    errno.EAGAIN: SHORT_OF_PROCESSES,
    errno.EIO: "the disk reports an error: dmesg",
}
"""The errors if a host lacks a resource, or a file cannot be used."""


def translate(error: Exception) -> HostError | None:
    """An exception as an error of the host where it was raised; None for one that only a defect can cause (EBADF, EINVAL …)."""
    if isinstance(error, MemoryError):
        return HostError("cannot go on: out of memory", SHORT_OF_MEMORY)
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return HostError("cannot start a thread: the kernel rejects it", SHORT_OF_PROCESSES)
    if not isinstance(error, OSError) or not help_for(error):
        return None
    what = f"use {error.filename}" if error.filename else "go on"
    return HostError(f"cannot {what}: {error.strerror or error}", help_for(error))


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Raise HostError in place of an exception that `translate` knows."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if translated := translate(error):
            raise translated from error
        raise


class ProtocolError(NetctlError):
    """A worker got a request that it cannot answer: of no known form, or in the wrong state."""


class UsageError(NetctlError):
    """The command line asks for something impossible."""

    exit_status = 2


class Position(NamedTuple):
    """A position in a file: line and column, both counted from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """One fault of a file: its position, its description, and the advice."""

    position: Position
    message: str
    help_text: str = ""
    is_of_place: bool = False
    """It may come from a line that is indented wrongly: a value is missing, empty, or belongs elsewhere."""


class TopologyError(UsageError):
    """All the faults found in one reading of a topology file, in the order of the file."""

    def __init__(self, path: str, source: str, faults: tuple[Fault, ...]) -> None:
        """`path` as the user gave it; `source` is the file's text, from which the faulty lines are shown."""
        super().__init__(f"{path}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}")
        self.path = path
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault.position))


class HostError(NetctlError):
    """A host cannot be reached, lacks something, or has a conflicting foreign resource."""

    exit_status = 3


class SilentError(HostError):
    """A program on the host that runs, and does not answer in time. Another try would only take as long again."""


class AwayError(HostError):
    """A program on the host does not run. It may soon be restarted."""


class RolledBackError(NetctlError):
    """A step failed, and its apply was rolled back."""

    exit_status = 4


class LeftoverError(NetctlError):
    """A step failed, and its apply could not be rolled back completely; the message names the rest."""

    exit_status = 5


class VerificationError(NetctlError):
    """At least one probe did not find what the file allows or forbids."""

    exit_status = 6


class LockedError(NetctlError):
    """Another netctl holds the lock of a host; the message names the process."""

    exit_status = 7


class DeclinedError(NetctlError):
    """The user has answered a question with no, so that nothing was changed."""

    exit_status = 130
