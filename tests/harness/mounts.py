"""Whether tests may change mounts and files here: a look before anything is written.

A machine of the tests' own has a mount namespace with its own /run, and commands enter it by setns(2). That call sets the root
directory to the root of the mount namespace. So in a chroot the commands leave the chroot, and find the real /run, not the
private one. They would write to the real machine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

CLONE_NEWNS = 0x20000  # linux/sched.h
REMEDY = "run them on the machine itself, or in a root of their own: make test SUITE=trixie"


@cache
def is_chroot() -> bool:
    """Whether the root directory is not the root of the mount namespace. A child process enters its own namespace, and looks."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            here = _read_root()
            descriptor = os.open("/proc/self/ns/mnt", os.O_RDONLY)
            if ctypes.CDLL(None).setns(descriptor, CLONE_NEWNS) == 0:
                status = 0 if here == _read_root() else 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1), "cannot enter this process's own mount namespace: run the tests as root, with /proc mounted"
    return status == 1


def _read_root() -> tuple[str, int, int]:
    """Which mount the root directory is in, and which directory it is: a root that is mounted twice has one inode."""
    descriptor = os.open("/", os.O_PATH)
    found = os.fstat(descriptor)
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    mount = next(line for line in lines if line.startswith("mnt_id:"))  # proc_pid_fdinfo(5)
    os.close(descriptor)
    return mount, found.st_dev, found.st_ino


def check_private_run(first: int, entering: Sequence[str]) -> None:
    """AssertionError unless commands behind `entering` get the /run of the process `first`, which no other process here has."""
    own = Path(f"/proc/{first}/root/run").stat()
    command = [*entering, "stat", "--format=%d %i", "/run"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    is_private = found.stdout.split() == [str(own.st_dev), str(own.st_ino)] and not os.path.samestat(own, Path("/run").stat())
    assert is_private, f"cannot make a private /run: commands of this machine would write to the real one; {REMEDY}"
