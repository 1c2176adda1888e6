"""Events of container engines with Docker's API.

The package `docker` has no descriptor for an event loop, and its request blocks. So the one question is asked here, and only
whether there is an answer counts: what it says is not parsed. The engine filters the events: a health check starts a process
every few seconds, and is none of them.
"""

from __future__ import annotations

import json
import socket
from urllib.parse import quote

from reconciler.kernel.events.source import Cause, SourceEndedError

CONNECT_TIMEOUT_S = 1.0
"""An engine whose queue of connections is full must not hold up the loop for longer."""
READ_BYTES = 1 << 16
READS_MAX = 256
"""Of one `drain`."""
EVENTS = ("create", "destroy", "die", "rename", "restart", "start", "stop", "died", "remove")
"""Those that may change a container's network namespace, its name, or whether it is there or runs.

The last two are other engines' words for `die` and `destroy`: they compare a filter with their own words, whatever they send.
"""
HEAD_MAX_BYTES = 1 << 14


class EngineEvents:
    """A connection on which an engine sends its events.

    systemd listens for an engine that it has yet to start (systemd.socket(5)), so the answer may take its time. It begins
    with a head, and that is a hint: what happened before the engine sent it has no event.
    """

    cause = Cause.ENGINE

    def __init__(self, url: str) -> None:
        """OSError if the engine does not listen."""
        self._head = b""
        self._is_open = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(CONNECT_TIMEOUT_S)
            self._socket.connect(url.removeprefix("unix://"))
            self._socket.sendall(render_question())
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The connection's."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Whether anything came after the head, or its end. SourceEndedError if the engine refuses, or ends the connection."""
        found = False
        for _ in range(READS_MAX):
            try:
                data = self._socket.recv(READ_BYTES)
                if not data:
                    raise SourceEndedError
            except BlockingIOError:
                break
            except OSError as error:
                raise SourceEndedError from error
            self._is_open = self._is_open or self._ends_head(data)
            found = found or self._is_open
        return found

    def _ends_head(self, data: bytes) -> bool:
        self._head += data
        status = self._head.split(b" ", 2)[1:2]
        if len(self._head) > HEAD_MAX_BYTES or (b"\r\n" in self._head and status != [b"200"]):
            raise SourceEndedError
        return b"\r\n\r\n" in self._head

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def render_question() -> bytes:
    """The request for events of containers, from now on. HTTP/1.0: the answer is the plain stream, without chunks."""
    filters = quote(json.dumps({"type": ["container"], "event": list(EVENTS)}))
    return f"GET /events?filters={filters} HTTP/1.0\r\nHost: engine\r\n\r\n".encode()
