"""Whether other users could change a file that an agent follows: what it says is carried out as root, without a question."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from reconciler.cli.planfile import own_users
from reconciler.errors import UsageError

LINKS_MAX = 40
"""As many as the kernel follows (path_resolution(7))."""


def find_trusted(path: str) -> frozenset[int]:
    """The users that may write the file: root, the invoking one, and the owner of the file that it names when it starts."""
    try:
        return own_users() | {Path(path).stat().st_uid}
    except OSError:
        return own_users()


def check_trusted(path: str, users: Collection[int]) -> None:
    """UsageError if another user could change the file, or put another one in its place. A missing one is no error here."""
    here, *rest = Path(path).absolute().parts
    found, pending, links = Path(here), rest[::-1], 0
    _check(found, found.stat(), users)
    while pending and links <= LINKS_MAX:
        found = found.parent if (part := pending.pop()) == ".." else found / part
        try:
            status = found.lstat()
        except OSError:
            return
        _check(found, status, users)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            pending += found.readlink().parts[::-1]
            found = found.parent


def _check(path: Path, status: os.stat_result, users: Collection[int]) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in users:
        help_text = f"look at it, and if it is what you want: chown root {path}"
        raise UsageError(f"{path} belongs to user ID {status.st_uid}, who can change what the agent does", help_text)
    # A group of one user has the user's number; in a directory with the sticky bit users replace their own files only.
    by_group = mode & stat.S_IWGRP and status.st_gid not in users
    if (by_group or mode & stat.S_IWOTH) and not (stat.S_ISLNK(status.st_mode) or mode & stat.S_ISVTX):
        help_text = f"look at it, and if it is what you want: chmod go-w {path}"
        raise UsageError(f"other users can write {path} (mode {mode:04o}), and change what the agent does", help_text)
