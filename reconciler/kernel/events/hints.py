"""Hints: the event loop over all sources. It reports that something happened, and from what; never what.

A source that cannot be opened, or that ends, is opened again with backoff. Events may have been lost meanwhile, so each time
it is a hint.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from reconciler.errors import HostError
from reconciler.kernel.events.netlink import Notifications
from reconciler.kernel.events.source import Cause, Opener, Source, SourceEndedError
from reconciler.state.backoff import Backoff

REOPEN = Backoff(0.2, 30.0)
"""systemd restarts an engine within seconds; a machine without one must not be asked all the time."""
STABLE_S = 10.0
"""A source that was open for so long has worked; one that ends sooner is opened again later and later."""

Clock = Callable[[], float]


@dataclass(slots=True)
class _Slot:
    """A source that is wanted, open or not."""

    open: Opener
    cause: Cause
    source: Source | None = None
    backoff: Backoff = REOPEN
    opened_s: float = 0.0
    retry_s: float = 0.0


@dataclass(slots=True)
class Hints:
    """All sources, by keys of the caller's. Not for use by two threads."""

    clock: Clock = time.monotonic
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _slots: dict[Hashable, _Slot] = field(default_factory=dict)

    def want(self, sources: Mapping[Hashable, tuple[Cause, Opener]]) -> None:
        """Have exactly these sources: new ones are opened, and those that are not among them are closed."""
        for key in self._slots.keys() - sources.keys():
            self._close(self._slots.pop(key))
        for key, (cause, opener) in sources.items():
            if key not in self._slots:
                slot = self._slots[key] = _Slot(opener, cause)
                self._open(slot)

    def wait(self, until_s: float) -> set[Cause]:
        """The causes of the hints that there are by then, on the clock; returns at the first, or at a signal, with none."""
        found = self._reopen()
        if found:
            return found
        retries = [slot.retry_s for slot in self._slots.values() if slot.source is None]
        timeout_s = max(0.0, min([until_s, *retries]) - self.clock())
        for key, _ in self._selector.select(timeout_s):
            slot: _Slot = key.data
            if self._drain(slot):
                found.add(slot.cause)
        return found

    def drain(self) -> set[Cause]:
        """Take all events that there are now; the causes of those that are hints."""
        return {slot.cause for slot in self._slots.values() if slot.source and self._drain(slot)}

    def take_programs(self) -> set[str]:
        """The names of programs that made changes since the last call, as far as the kernel says."""
        found: set[str] = set()
        for slot in self._slots.values():
            if isinstance(slot.source, Notifications):
                found |= slot.source.programs
                slot.source.programs.clear()
        return found

    def close(self) -> None:
        """Close all sources."""
        for slot in self._slots.values():
            self._close(slot)
        self._slots.clear()
        self._selector.close()

    def _drain(self, slot: _Slot) -> bool:
        assert slot.source
        try:
            return slot.source.drain()
        except (SourceEndedError, OSError):
            self._close(slot)
            if self.clock() - slot.opened_s >= STABLE_S:
                slot.backoff = slot.backoff.succeeded()
            self._postpone(slot)
            return True

    def _reopen(self) -> set[Cause]:
        """Open what is due; an event may have been lost before."""
        due = [slot for slot in self._slots.values() if slot.source is None and slot.retry_s <= self.clock()]
        return {slot.cause for slot in due if self._open(slot)}

    def _open(self, slot: _Slot) -> bool:
        try:
            slot.source = slot.open()
        except (OSError, HostError):
            self._postpone(slot)
            return False
        slot.opened_s = self.clock()
        self._selector.register(slot.source.fileno(), selectors.EVENT_READ, slot)
        return True

    def _postpone(self, slot: _Slot) -> None:
        slot.backoff = slot.backoff.failed()
        slot.retry_s = self.clock() + slot.backoff.delay_s

    def _close(self, slot: _Slot) -> None:
        if slot.source:
            self._selector.unregister(slot.source.fileno())
            slot.source.close()
            slot.source = None
