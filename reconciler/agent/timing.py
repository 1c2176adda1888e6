"""When an agent reads its hosts: pure, on a clock in seconds that its caller reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
ENGINE_S = 1.0
"""Between readings while an engine cannot be asked."""
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


@dataclass(slots=True)
class Schedule:
    """When the next cycle is due, and what that depends on."""

    debounce: Debounce = field(default_factory=Debounce)
    retry: Backoff = RETRY
    give_way: Backoff = GIVE_WAY
    idle: Backoff = IDLE
    not_before_s: float = 0.0
    """No cycle before, whatever hints there are."""
    full_s: float = 0.0
    """The next full reading is due then; the first is due at once."""
    contest_s: float | None = None
    """What is contested is tried again then."""

    @property
    def due_s(self) -> float:
        """When the next cycle is due."""
        times = (self.debounce.due_s, self.full_s, self.contest_s)
        return max(self.not_before_s, min(each for each in times if each is not None))

    def hinted(self, now_s: float, *, is_news: bool = False) -> None:
        """A hint has come. With `is_news`, it may be what a cycle failed for the want of: an engine, or another file."""
        self.debounce = self.debounce.hinted(now_s)
        if is_news:
            self.not_before_s = min(self.not_before_s, now_s + RETRY.first_s)

    def await_engine(self, now_s: float) -> None:
        """An engine cannot be asked yet."""
        self._again(now_s, ENGINE_S)

    def read_now(self, now_s: float) -> None:
        """Have a reading at once, without quiet: a container waits for it."""
        self.debounce = self.debounce.hinted(now_s - QUIET_MAX_S)
        self.not_before_s = min(self.not_before_s, now_s)

    def begin(self, now_s: float, lot: float) -> bool:
        """A cycle begins, and covers all hints so far; whether it is a full reading."""
        is_full = now_s >= self.full_s
        if is_full:
            self.full_s = next_full_s(now_s, lot)
        self.debounce, self.contest_s = Debounce(), None
        return is_full

    def read_all(self, now_s: float) -> None:
        """Have a full reading at once."""
        self.full_s = now_s

    def failed(self, now_s: float) -> None:
        """The cycle failed."""
        self.retry = self.retry.failed()
        self._again(now_s, self.retry.delay_s)

    def locked(self, now_s: float) -> None:
        """Another netctl is at work."""
        self.give_way = self.give_way.failed()
        self._again(now_s, self.give_way.delay_s)

    def repaired(self, now_s: float) -> None:
        """Something was repaired: it is read again before it counts as done."""
        self._succeeded()
        self.idle = self.idle.succeeded()
        self._again(now_s, 0.0)

    def found_nothing(self, now_s: float, *, is_full: bool) -> None:
        """Nothing differed. Hints that mean nothing are others' doing, and are followed less often."""
        self._succeeded()
        if not is_full:
            self.idle = self.idle.failed()
            self.not_before_s = now_s + self.idle.delay_s

    def _succeeded(self) -> None:
        self.retry, self.give_way, self.not_before_s = self.retry.succeeded(), self.give_way.succeeded(), 0.0

    def _again(self, now_s: float, delay_s: float) -> None:
        """Run another cycle after so long, without a hint."""
        self.debounce = self.debounce.hinted(now_s - QUIET_MAX_S)
        self.not_before_s = now_s + delay_s
