"""Events of container engines: those of Docker's API, and LXC's monitor.

The package `docker` has no descriptor for an event loop, and its request blocks. So the one question is asked here, and only
whether there is an answer counts: what it says is not parsed. The engine filters the events: a health check starts a process
every few seconds, and is none of them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from urllib.parse import quote

from reconciler.kernel.events.source import Cause, SourceEndedError
from reconciler.kernel.namespaces import enter, run_in_thread

CONNECT_TIMEOUT_S = 5.0
"""An engine that accepts and does not answer must not hold up the loop for longer."""
READ_BYTES = 1 << 16
READS_MAX = 256
"""Of one `drain`."""
EVENTS = ("create", "destroy", "die", "rename", "restart", "start", "stop", "died", "remove")
"""Those that may change a container's network namespace, its name, or whether it is there or runs.

The last two are Podman's words for `die` and `destroy`: it compares a filter with its own words, whatever it sends.
"""
HEAD_MAX_BYTES = 1 << 14


class EngineEvents:
    """A connection on which an engine sends its events."""

    cause = Cause.ENGINE

    def __init__(self, url: str) -> None:
        """OSError if the engine does not listen, or refuses."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(CONNECT_TIMEOUT_S)
            self._socket.connect(url.removeprefix("unix://"))
            self._socket.sendall(render_question())
            _check_head(self._read_head())
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def _read_head(self) -> bytes:
        """What comes first, up to the end of the head; events may follow in the same piece, which the first reading covers."""
        data = b""
        while b"\r\n\r\n" not in data and len(data) < HEAD_MAX_BYTES:
            part = self._socket.recv(READ_BYTES)
            if not part:
                raise ConnectionResetError("the engine ended the connection")
            data += part
        return data

    def fileno(self) -> int:
        """The connection's."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Whether anything came. SourceEndedError if the engine has ended the connection."""
        found = False
        for _ in range(READS_MAX):
            try:
                if not self._socket.recv(READ_BYTES):
                    raise SourceEndedError
            except BlockingIOError:
                break
            except OSError as error:
                raise SourceEndedError from error
            found = True
        return found

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def render_question() -> bytes:
    """The request for events of containers, from now on. HTTP/1.0: the answer is the plain stream, without chunks."""
    filters = quote(json.dumps({"type": ["container"], "event": list(EVENTS)}))
    return f"GET /events?filters={filters} HTTP/1.0\r\nHost: engine\r\n\r\n".encode()


def _check_head(data: bytes) -> None:
    if data.partition(b"\r\n")[0].split(b" ")[1:2] != [b"200"]:
        raise ConnectionRefusedError("the engine refuses to send events")


class LxcEvents:
    """The lines of lxc-monitor(1), a process of its own that reports the states of all containers of a directory."""

    cause = Cause.ENGINE

    def __init__(self, directory: str, machine_netns: str) -> None:
        """`directory` holds the containers. The monitor's socket is reached from the machine's own namespace only. OSError."""
        words = ["lxc-monitor", "-P", directory, "-n", ".*"]

        def body() -> subprocess.Popen[bytes]:
            enter(machine_netns)
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        self._process = run_in_thread(body)
        assert self._process.stdout
        self._stream = self._process.stdout
        os.set_blocking(self._stream.fileno(), False)

    def fileno(self) -> int:
        """The monitor's output."""
        return self._stream.fileno()

    def drain(self) -> bool:
        """Whether anything came. SourceEndedError if the monitor has ended."""
        found = False
        for _ in range(READS_MAX):
            try:
                if not os.read(self._stream.fileno(), READ_BYTES):
                    raise SourceEndedError
            except BlockingIOError:
                break
            found = True
        return found

    def close(self) -> None:
        """End the monitor."""
        self._process.kill()
        self._process.wait()
        self._stream.close()
