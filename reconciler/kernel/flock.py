"""Locks on files and directories that other users may open, too: a user's lock must not hold up root.

Called by `lock` and `namespaces`. flock(2) asks for no right to write, so a file of mode 0644 is enough to lock it.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from reconciler.kernel.marks import is_roots

POLL_S = 0.02
UNKNOWN_TIMEOUT_S = 5.0
"""How long to wait for a lock whose holder /proc/locks does not show: it has ended, or is in another process namespace."""


def lock_among_root(descriptor: int) -> None:
    """Lock the open file or directory, after processes of root that have it locked. Another user's lock is passed over.

    There is no lock then, but no process of root's has it either.
    """
    begun = time.monotonic()
    while not try_lock(descriptor):
        holders = read_holders(descriptor)
        if not any(map(is_roots, holders)) and (holders or time.monotonic() - begun > UNKNOWN_TIMEOUT_S):
            return
        time.sleep(POLL_S)


def try_lock(descriptor: int) -> bool:
    """Lock the open file; false if another holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked_by_others_only(descriptor: int) -> bool:
    """Whether the holders of a lock on the open file are known, and none is root's."""
    holders = read_holders(descriptor)
    return bool(holders) and not any(map(is_roots, holders))


def read_holders(descriptor: int) -> list[int]:
    """The processes that took a lock on the file, of /proc/locks: `1: FLOCK ADVISORY WRITE 708 00:1b:1421 0 EOF`."""
    status = os.fstat(descriptor)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    lines = (line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines())
    return [int(words[4]) for words in lines if words[1] == "FLOCK" and words[5] == wanted]  # one that waits has `->` there
