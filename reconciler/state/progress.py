"""What an apply reports while it runs: how far each host is."""

from __future__ import annotations

from typing import Protocol


class ProgressDisplay(Protocol):
    """Shows how far each host is (see `render.progress`)."""

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are done; a phase that is complete has both equal."""

    def wait(self, host: str, bridge: str, seconds: int) -> None:
        """The host waits for the STP of a bridge, which holds new ports back for so many seconds."""
