"""The files that containers have as /etc/hosts: under /run/netctl, or that of a holder. They are written in place.

A container mounts the file itself: another one of the same name would not be seen in it. Start scripts of images add lines
to it. Those stand below a mark, and netctl neither compares nor changes them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.state.ref import container_netns, hosts_path
from reconciler.state.steps.containers import HOSTS_END, HostsDelete

HOSTS_MAX_BYTES = 1 << 16
"""The limit of what is read of a file: its container's root can write anything there."""


def read_hosts_files(context: KernelContext, mounted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The lines of the files under /run/netctl, by namespace; of the host's own namespaces only."""
    directory = _path(context, "any").parent
    if not directory.is_dir():
        return {}
    own = frozenset(mounted)
    return {container_netns(one.name): read_lines(one) for one in directory.iterdir() if container_netns(one.name) in own}


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a hosts file down to the mark, or all; none if it cannot be read."""
    return _read_parts(path)[0]


def _read_parts(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines of the file before and after the mark; without a mark, all are before it."""
    try:
        with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
            lines = file.read(HOSTS_MAX_BYTES).decode("utf-8", "replace").replace("\0", "\ufffd").splitlines()
    except OSError:
        return (), ()
    end = lines.index(HOSTS_END) if HOSTS_END in lines else len(lines)
    return tuple(lines[:end]), tuple(lines[end + 1 :])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the file, and keep it the same file, with the lines below the mark. HostError if it cannot be written."""
    try:
        text = "".join(f"{line}\n" for line in (*lines, HOSTS_END, *_read_parts(path)[1]))
        with os.fdopen(_open(path, os.O_WRONLY | os.O_CREAT), "wb") as file:
            _replace(file, text.encode())
    except OSError as error:
        raise HostError(f"cannot write the hosts file {path}: {error.strerror}", _advise(error)) from error


def _open(path: Path, flags: int) -> int:
    """Open a regular file. OSError for a link, which could lead to any file of the host, and for all else that is none."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file")


def _replace(file: BinaryIO, data: bytes) -> None:
    """Replace what the open file has. On a full disk, it keeps what it has."""
    before = os.fstat(file.fileno()).st_size
    try:
        os.posix_fallocate(file.fileno(), 0, len(data))
    except OSError:
        file.truncate(before)
        raise
    file.write(data)
    file.truncate(len(data))


def _advise(error: OSError) -> str:
    return "free space there, and apply again" if error.errno == errno.ENOSPC else "remove what stands there, and apply again"


def write_hosts_file(context: KernelContext, container: str, lines: Iterable[str]) -> None:
    """Write the file of a container under /run/netctl."""
    path = _path(context, container)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_lines(path, lines)


def delete_hosts_file(context: KernelContext, step: HostsDelete) -> None:
    """Delete it, and the directory with the last one."""
    path = _path(context, step.container)
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others are in it, or another thread has deleted it
        path.parent.rmdir()


def _path(context: KernelContext, container: str) -> Path:
    return context.run_directory / Path(hosts_path(context.topology, context.host_key, container)).relative_to("/run/netctl")
