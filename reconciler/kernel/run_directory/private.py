"""Files and directories that only root can open: all of netctl's files under /run/netctl.

A user who can open a file can lock it (flock(2)). A user who can write a directory can replace a file by a link. So
directories are 0700 and files 0600. The next write tightens what an earlier version left wider.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from reconciler.errors import HostError

DIRECTORY_MODE, FILE_MODE = 0o700, 0o600
OTHERS = 0o077
"""The bits of a mode that belong to the group and to all others."""
OTHERS_WRITE = 0o022


def check_directories(*directories: Path) -> None:
    """HostError if one of the directories is a symbolic link, another user's, or writable by others.

    It accepts a missing one.
    """
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            os.close(_open_directory(directory))


def make_directory(directory: Path) -> None:
    """Create a directory under /run/netctl, and that one. HostError as `check_directories`; OSError if it cannot be created."""
    secure_directory(directory.parent)
    secure_directory(directory)


def secure_directory(directory: Path) -> None:
    """Create a directory for root alone; tighten an existing wider one and its files. HostError and OSError as above."""
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor = _open_directory(directory)
    try:
        if os.fstat(descriptor).st_mode & OTHERS:
            os.fchmod(descriptor, DIRECTORY_MODE)
            _tighten_files(descriptor)
    finally:
        os.close(descriptor)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file for root alone, created if it is missing. OSError if it is a symbolic link or cannot be opened."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    if os.fstat(descriptor).st_mode & OTHERS:
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def write_private(path: Path, text: str, *, mode: int = FILE_MODE) -> None:
    """As `replace_file`; its directory is created. HostError and OSError as above."""
    make_directory(path.parent)
    replace_file(path, text, mode=mode)


def replace_file(path: Path, text: str, *, mode: int = FILE_MODE) -> None:
    """Replace a file as a whole; it is on the disk before its name is. OSError names the file.

    It is for root alone unless `mode` is wider: marks, configs and scripts hold the values of environment variables.
    The temporary file has a fixed name, so that kills leave only one. The directory must be root's alone. Without room for a
    second file, shorter text is written over the first: a rollback on a full disk removes its notes.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with os.fdopen(open_private(temporary, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno != errno.ENOSPC or not _overwrite(path, text.encode()):
            # A failed write names no file.
            raise OSError(error.errno, error.strerror, str(path)) from error


def _overwrite(path: Path, data: bytes) -> bool:
    """Write the data over a file that is at least as long; False if there is none. Such a write needs no room."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_size < len(data):
            return False
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
        return True
    finally:
        os.close(descriptor)


def _open_directory(directory: Path) -> int:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and directory.is_symlink():
            help_text = f"netctl keeps its files in a directory of its own; remove the link: rm {directory}"
            raise HostError(f"{directory} is a symbolic link", help_text) from None
        raise
    status = os.fstat(descriptor)
    reason = ""
    if os.geteuid() != 0 == status.st_uid:
        os.close(descriptor)
        raise HostError(f"netctl needs root: {directory} is root's", "run it with sudo")
    if status.st_uid != os.geteuid():
        reason = f"belongs to user ID {status.st_uid}"
    elif status.st_mode & OTHERS_WRITE:
        reason = f"can be written by other users (mode {stat.S_IMODE(status.st_mode):04o})"
    if reason:
        os.close(descriptor)
        help_text = f"its files may be forged: look at them, then remove it (rm -r {directory})"
        raise HostError(f"{directory} {reason}", help_text)
    return descriptor


def _tighten_files(directory: int) -> None:
    """Only root can write the directory, so each file in it is root's."""
    for name in os.listdir(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_mode & OTHERS:
            os.chmod(name, stat.S_IMODE(status.st_mode) & ~OTHERS, dir_fd=directory)
