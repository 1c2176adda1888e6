"""The progress of an apply: how far each host is."""

from __future__ import annotations

from typing import Protocol


class ProgressDisplay(Protocol):
    """Shows how far each host is (see `render.progress`)."""

    def update(self, host: str, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of a phase are done; both are equal when the phase is complete."""

    def wait(self, host: str, bridge: str, seconds: int) -> None:
        """The host waits this many seconds for the STP of a bridge, which blocks new ports meanwhile."""
