"""Locks on files and directories that other users may open, too: a user's lock must not delay root.

flock(2) needs no write permission, so a file of mode 0644 is enough to lock it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from reconciler.kernel.processes.marks import is_roots, read_pids

POLL_S = 0.02


def lock_among_root(descriptor: int) -> None:
    """Lock the open file or directory, after processes of root that have it locked. Another user's lock is ignored.

    There is no lock then, but no process of root has it either.
    """
    while not try_lock(descriptor) and not is_locked_by_others_only(descriptor):
        time.sleep(POLL_S)


def try_lock(descriptor: int) -> bool:
    """Lock the open file; false if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked_by_others_only(descriptor: int) -> bool:
    """Whether no process of root has a lock on the open file. 40 µs for a process; the lock may be free by then."""
    wanted = os.fstat(descriptor)
    return not any(_has_lock(pid, wanted) for pid in read_pids())


def _has_lock(pid: int, wanted: os.stat_result) -> bool:
    """Whether a process of root has the file locked: the kernel reports the lock with the descriptor (proc(5)).

    The file /proc/locks names the process that took a lock. It hides the lock if that one has ended, even if its child
    still has the descriptor, as with the flock(1) of a shell script.
    """
    with suppress(OSError):  # it has ended
        if is_roots(pid):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), wanted) and _is_lock_of_root(pid, name):
                        return True
    return False


def _is_lock_of_root(pid: int, name: str) -> bool:
    """Whether a descriptor has a lock, `lock: 1: FLOCK ADVISORY WRITE 708 …`, that no other user took and passed on."""
    lines = Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="ascii").splitlines()
    takers = [int(words[5]) for words in map(str.split, lines) if words[0] == "lock:" and words[2] == "FLOCK"]
    return any(taker == 0 or is_roots(taker) for taker in takers)  # 0: it has ended
