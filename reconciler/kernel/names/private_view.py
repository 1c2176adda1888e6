"""A mount namespace of its own for a command of `netctl exec`, in which /etc/resolv.conf is that of the container."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from reconciler.state.process_mark import RESOLV_CONF

CLONE_NEWNS = 0x20000  # linux/sched.h
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000  # linux/mount.h


def show_resolv_conf(path: str) -> None:
    """Bind the file over /etc/resolv.conf, for this process and its children only; nothing if there is no such file.

    Mounts of the host still arrive here (MS_SLAVE), so a namespace that netctl unmounts is not kept alive. OSError.
    """
    if not Path(path).is_file() or not Path(RESOLV_CONF).exists():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(CLONE_NEWNS))
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None))
    _check(libc.mount(path.encode(), RESOLV_CONF.encode(), None, MS_BIND, None))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), RESOLV_CONF)
