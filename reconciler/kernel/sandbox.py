"""A part of this machine that ends with its first process: network, mounts and processes of its own.

A root user needs nothing more for it. Any other one gets a user namespace (user_namespaces(7)), in which its own number
is 0. In the sandbox /run is empty, /proc shows the processes of the sandbox only, and no link leads out. If its first
process ends, or the one that created it, the kernel ends all the other ones (pid_namespaces(7)). Namespaces, mounts and
files in /run go away with them.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from reconciler.errors import HostError

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000  # linux/sched.h
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
REFUSED = 3
"""The exit status if the kernel does not give what a sandbox needs."""

_libc = ctypes.CDLL(None, use_errno=True)  # os.unshare came with Python 3.12


def enter_sandbox() -> int | None:
    """None in the sandbox, in a new process; in this process the exit status of that one, after its end.

    HostError in this process if the kernel rejects it. A signal to this process ends the sandbox.
    """
    reading, writing = os.pipe()
    parent, child = os.getpid(), os.fork()
    if child == 0:
        os.close(reading)
        _become_first(writing, parent)
        return None
    os.close(writing)
    try:
        with os.fdopen(reading, encoding="utf-8") as stream:
            fault = stream.read()
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if fault:
        raise HostError(f"cannot create namespaces to rehearse in: {fault}", _help())
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _help() -> str:
    if os.geteuid() == 0:
        return "a root without CAP_SYS_ADMIN cannot; outside of a container it can"
    limits = "user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
    return f"`unshare -Urnmpf --mount-proc true` must work for this user (sysctl {limits}); root needs no user namespace: sudo"


def _become_first(writing: int, parent: int) -> None:
    """Create the namespaces, and return in their first process. The process in between waits for its end."""
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before
            os._exit(REFUSED)
        os.setsid()  # a terminal's SIGINT goes to the process that waits, which ends the sandbox
        _unshare()
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        first = os.fork()
        if first:
            os.close(writing)
            code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _call("mount", b"tmpfs", b"/run", b"tmpfs", 0, b"mode=755")
        _call("mount", b"proc", b"/proc", b"proc", 0, None)
    except OSError as error:
        os.write(writing, f"{error.strerror} ({error.filename})".encode())
        os._exit(REFUSED)
    os.close(writing)


def _unshare() -> None:
    spaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", spaces | (CLONE_NEWUSER if uid else 0))
    if uid:
        # Without this, a user of a group that a file excludes could leave the group (user_namespaces(7)).
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def _call(name: str, *arguments: object) -> None:
    """Call a function of libc that returns 0; OSError with its name if it does not."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
