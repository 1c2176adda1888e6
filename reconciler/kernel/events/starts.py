"""Containers that start, and wait for their network (`kernel.starts`): each has a file, which appears as a whole (inotify(7))."""

from __future__ import annotations

import contextlib

from reconciler.kernel.events.files import IN_MOVED_TO, FileEvents
from reconciler.kernel.events.source import Cause
from reconciler.kernel.run_directory.private import make_directory
from reconciler.kernel.starts.records import DIRECTORY


class StartEvents(FileEvents):
    """The records that appear. What is answered there is no event."""

    def __init__(self) -> None:
        """Creates the directory. OSError, or HostError if it is not root's alone."""
        make_directory(DIRECTORY)
        super().__init__(Cause.START)
        self.watch(str(DIRECTORY), IN_MOVED_TO)

    def close(self) -> None:
        """Close it, and delete the directory if it is empty."""
        super().close()
        for directory in (DIRECTORY, DIRECTORY.parent):
            with contextlib.suppress(OSError):
                directory.rmdir()
