"""Waiting for an engine that does not run: systemd restarts a daemon after a kill (`Restart=always` in docker.service)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from reconciler.errors import AwayError

AWAY_S = 15.0
"""docker.service waits 2 s before it restarts the daemon, which needs some seconds to read its containers."""
PAUSE_S = 0.3

T = TypeVar("T")


def when_back(read: Callable[[], T]) -> T:
    """The result of `read`, repeated for a while as long as a program of the host does not run. Then AwayError."""
    deadline_s = time.monotonic() + AWAY_S
    while True:
        try:
            return read()
        except AwayError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(PAUSE_S)
