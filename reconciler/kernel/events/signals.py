"""Signals as events: Python writes the number of each one that has a handler to a pipe (signal.set_wakeup_fd)."""

from __future__ import annotations

import os
import signal

from reconciler.kernel.events.source import Cause

READ_BYTES = 4096


class SignalEvents:
    """The signals that have arrived since `take`. One at a time: the main thread makes it."""

    cause = Cause.CONTROL

    def __init__(self) -> None:
        """From here on signals are noted; their handlers run, too."""
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._received: set[int] = set()
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)

    def take(self) -> set[int]:
        """The numbers that have arrived, each once."""
        self.drain()
        received, self._received = self._received, set()
        return received

    def fileno(self) -> int:
        """The pipe's end."""
        return self._reading

    def drain(self) -> bool:
        """Whether a signal has arrived."""
        found = False
        while True:
            try:
                data = os.read(self._reading, READ_BYTES)
            except BlockingIOError:
                return found
            self._received |= set(data)
            found = True

    def close(self) -> None:
        """Note signals no longer."""
        signal.set_wakeup_fd(self._before)
        os.close(self._reading)
        os.close(self._writing)
