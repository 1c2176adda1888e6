"""The file of a saved plan: written for its owner alone, and trusted only from its owner or root.

A plan holds the values of environment variables, and is the approval of an apply.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.kernel.run_directory.private import OTHERS_WRITE

LINKS_MAX = 40
"""The most links in a row that the kernel follows (path_resolution(7))."""


def save_plan(path: str, text: str) -> None:
    """Write a plan for its owner alone, as a whole. UsageError if it cannot be written, or is another user's file."""
    try:
        target = _follow(Path(path))
        if target.is_symlink() or (target.exists() and not target.is_file()):  # /dev/stdout, a named pipe
            _write_through(target, text)
        else:
            _replace(target, text)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is not a valid file name"
        raise UsageError(f"cannot save the plan in {path}: {reason}", "name a writable file") from None


def _follow(path: Path) -> Path:
    """The target of links that belong to the user or root; a link of /proc represents a descriptor of this process."""
    proc = Path("/proc").stat().st_dev
    for _ in range(LINKS_MAX):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return path
        if not stat.S_ISLNK(status.st_mode) or status.st_dev == proc:
            return path
        if status.st_uid not in own_users():
            help_text = "name another file: a plan holds the values of environment variables"
            raise UsageError(f"the plan is not saved in {path}: it is a link of user ID {status.st_uid}", help_text)
        path = path.parent / path.readlink()
    raise UsageError(f"cannot save the plan in {path}: too many links", "name a writable file")


def _write_through(target: Path, text: str) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid not in own_users():
            raise UsageError(f"the plan is not saved in {target}: it belongs to another user", "name another file")
        file.write(text)


def _replace(target: Path, text: str) -> None:
    # mkstemp(3) makes it 0600, and never follows a link.
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_approver(path: str, status: os.stat_result) -> None:
    """UsageError if another user than root or the invoking one could have written the open plan."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        return
    if status.st_uid not in own_users():
        help_text = f"look at it, and if it is what you approve: chown root {path}"
        raise UsageError(f"{path} belongs to user ID {status.st_uid}, who can change it at any moment", help_text)
    if status.st_mode & OTHERS_WRITE:
        help_text = f"look at it, and if it is what you approve: chmod go-w {path}"
        raise UsageError(f"other users can write {path} (mode {stat.S_IMODE(status.st_mode):04o})", help_text)


def own_users() -> frozenset[int]:
    """Root and the invoking user, with sudo(8) also its caller."""
    caller = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    return frozenset({0, os.getuid(), os.geteuid(), *([int(caller)] if caller.isascii() and caller.isdigit() else [])})
