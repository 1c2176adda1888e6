"""When an agent reads its hosts: pure, on a clock in seconds that its caller reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from reconciler.state.backoff import Backoff

QUIET_S = 0.05
"""A hint comes before the kernel is done: deleting a link reports its neighbors first. So the agent waits for quiet."""
QUIET_MAX_S = 0.5
"""No longer than this after the first hint, however many more follow."""
FULL_S = 60.0
"""A full reading finds what no event reports."""
JITTER = 0.1
"""A part of FULL_S, by which agents that started together drift apart."""
RETRY = Backoff(0.1, 15.0)
"""After a cycle that failed."""
GIVE_WAY = Backoff(0.1, 1.0)
"""While another netctl holds the lock."""
IDLE = Backoff(0.05, 1.0)
"""Between readings that hints of others caused and that found nothing: a busy host must not keep the agent busy."""


@dataclass(frozen=True, slots=True)
class Debounce:
    """The hints since the last reading."""

    first_s: float | None = None
    last_s: float = 0.0

    def hinted(self, now_s: float) -> Self:
        """After one more hint."""
        return replace(self, first_s=now_s if self.first_s is None else self.first_s, last_s=now_s)

    @property
    def due_s(self) -> float | None:
        """When to read; None without a hint."""
        if self.first_s is None:
            return None
        return min(self.last_s + QUIET_S, self.first_s + QUIET_MAX_S)


def next_full_s(now_s: float, lot: float) -> float:
    """When the next full reading is due; `lot` is drawn from 0 to 1."""
    return now_s + FULL_S * (1 - JITTER + 2 * JITTER * lot)
