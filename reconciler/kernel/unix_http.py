"""HTTP on a unix socket. Called by `kernel.docker`, at its first request only: http.client takes 20 ms to import."""

from __future__ import annotations

import http.client
import socket

ANSWER_TIMEOUT_S = 90.0


class UnixConnection(http.client.HTTPConnection):
    """A connection for one request and its answer."""

    def __init__(self, path: str) -> None:
        """Nothing is opened before the request."""
        super().__init__("engine", timeout=ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Called by the request."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def request(path: str, method: str, target: str, body: str | None) -> tuple[int, bytes]:
    """The status and the body of the answer. OSError where there is none; ValueError where what answers speaks no HTTP."""
    connection = UnixConnection(path)
    try:
        connection.request(method, target, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"{error!r}") from error
    finally:
        connection.close()
