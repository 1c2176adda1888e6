"""Backoff: how long to wait after a failure, before the next try."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first_s` up to `max_s`, until a success."""

    first_s: float
    max_s: float
    failures: int = 0
    """How many there were since the last success."""

    @property
    def delay_s(self) -> float:
        """How long to wait now; 0 without a failure."""
        if not self.failures:
            return 0.0
        return min(self.max_s, self.first_s * 2.0 ** min(self.failures - 1, 32))

    def failed(self) -> Self:
        """The state after one more failure."""
        return replace(self, failures=self.failures + 1)

    def succeeded(self) -> Self:
        """The state after a success."""
        return replace(self, failures=0)
