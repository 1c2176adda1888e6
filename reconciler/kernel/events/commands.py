"""The end of processes: a pidfd is readable then (pidfd_open(2)). One epoll instance holds all of them."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable

from reconciler.kernel.events.source import Cause

EVENTS_MAX = 256


class ProcessEvents:
    """The ends of processes that were named by `follow`."""

    cause = Cause.COMMAND

    def __init__(self) -> None:
        """No process is followed yet."""
        self._epoll = select.epoll()
        self._handles: dict[int, int] = {}
        """Descriptors by process number."""

    def follow(self, pids: Iterable[int]) -> bool:
        """Follow these processes and no others; whether one of them has ended already."""
        wanted = set(pids)
        for pid in self._handles.keys() - wanted:
            os.close(self._handles.pop(pid))  # which also takes it out of the epoll instance (epoll(7))
        ended = False
        for pid in wanted - self._handles.keys():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                ended = True
                continue
            self._handles[pid] = handle
            self._epoll.register(handle, select.EPOLLIN)
        return ended

    def fileno(self) -> int:
        """The epoll instance, which is readable itself."""
        return self._epoll.fileno()

    def drain(self) -> bool:
        """Whether a process has ended; it is followed no longer."""
        ended = {handle for handle, _ in self._epoll.poll(0, EVENTS_MAX)}
        for pid in [pid for pid, handle in self._handles.items() if handle in ended]:
            os.close(self._handles.pop(pid))
        return bool(ended)

    def close(self) -> None:
        """Close all descriptors."""
        for handle in self._handles.values():
            with contextlib.suppress(OSError):
                os.close(handle)
        self._handles.clear()
        self._epoll.close()
