"""Messages of a service to the service manager (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import socket

STOP_SENDING_S = 1.0
"""A manager that does not read must not hold the service up."""


class ServiceManager:
    """The manager that started this process; without one, nothing is sent."""

    def __init__(self) -> None:
        """As the environment says. The variables are removed: a process that is started from here is no service."""
        path = os.environ.pop("NOTIFY_SOCKET", "")
        pid, interval = os.environ.pop("WATCHDOG_PID", ""), os.environ.pop("WATCHDOG_USEC", "")
        is_watched = interval.isdigit() and pid in ("", str(os.getpid()))
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = int(interval) / 2e6 if is_watched and self._path else None
        """How often `notify("WATCHDOG=1")` is wanted: twice as often as needed; None if it is not."""

    def notify(self, *lines: str) -> None:
        """Send `READY=1`, `STATUS=…` and the like. A manager that has gone is no fault."""
        if not self._path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(STOP_SENDING_S)
            try:
                sender.sendto("\n".join(lines).encode(), self._path)
            except OSError:
                return
