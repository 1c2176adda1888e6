"""The number of further processes that the worker's control groups allow (cgroups(7), pids).

A command that cannot be started, or whose shell cannot fork, looks later as if it had ended by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")
MOUNTS = {"pids": Path("/sys/fs/cgroup/pids"), "": Path("/sys/fs/cgroup")}
"""The usual mount points (file-hierarchy(7)): the pids controller of version 1, and version 2."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`pids.max` of a control group, and the number of its processes and threads."""

    group: Path
    allowed: int
    current: int

    @property
    def left(self) -> int:
        """The number of further processes."""
        return max(0, self.allowed - self.current)


def read_tightest() -> Limit | None:
    """The limit that leaves least, of this process's group and those above it; None if none has one."""
    return min(_read_limits(), key=lambda limit: limit.left, default=None)


def _read_limits() -> Iterator[Limit]:
    try:
        lines = CGROUPS.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        for name in set(controllers.split(",")) & set(MOUNTS):
            group = MOUNTS[name] / path.lstrip("/")
            while MOUNTS[name] in (group, *group.parents):
                if limit := _read_limit(group):
                    yield limit
                group = group.parent


def _read_limit(group: Path) -> Limit | None:
    """None for a group without a limit ("max"), and for the root, which has no such file."""
    try:
        return Limit(group, int((group / "pids.max").read_text()), int((group / "pids.current").read_text()))
    except (OSError, ValueError):
        return None
