"""The worker's process: in the namespace of its host, and no longer alive than its controller."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

from reconciler.kernel.namespaces import enter, leave_for_new

PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when the thread that started it ends (prctl(2)); False if `parent` has already ended."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def return_memory() -> None:
    """Give freed memory back to the kernel (malloc_trim(3)); a C library without that keeps it."""
    if trim := getattr(_libc, "malloc_trim", None):
        trim(0)


def reap_children() -> None:
    """Read the status of all children that have ended (waitpid(2)): the commands of containers are children of their worker."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def enter_or_leave(path: str) -> bool:
    """Move the calling thread into the namespace at `path`; if there is none, into a new empty one, and return False.

    So a missing host reads like an empty one, by the same code. Nothing happens if the thread is in the namespace
    already.
    """
    try:
        wanted = os.stat(path)
    except FileNotFoundError:
        leave_for_new()
        return False
    if not os.path.samestat(wanted, os.stat("/proc/thread-self/ns/net")):
        enter(path)
    return True


def read_machine(netns: str) -> str:
    """An identity of the machine: the kernel's number of this boot, and the namespace (random(4), namespaces(7))."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.stat(netns).st_ino}"
