"""A process that serves the last text that it was given, by HTTP.

It is a process of its own, so that a slow or hostile client cannot hold up the agent. Threads in the agent would keep it from
forking workers. It has no rights of root once it listens, and ends with the agent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NoReturn

from reconciler.errors import HostError
from reconciler.kernel.processes.worker_process import die_with_parent

LENGTH = struct.Struct("=I")
NOBODY = 65534
CLIENT_TIMEOUT_S = 10.0
CLIENTS_MAX = 32
"""Each has a thread; further ones are turned away."""
PIPE_BYTES = 1 << 20
"""So much of the texts that the server has not read yet is kept: the default of /proc/sys/fs/pipe-max-size."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsServer:
    """The agent's side: `publish` replaces what is served."""

    def __init__(self, address: str, port: int) -> None:
        """Listen there, and start the process. To be called while there is one thread. HostError if the address is taken."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listener = socket.create_server((address, port), family=family)
        except OSError as error:
            help_text = "choose another port with --metrics ADDRESS:PORT"
            raise HostError(f"cannot listen on {address} port {port}: {error.strerror or error}", help_text) from error
        self.port: int = listener.getsockname()[1]
        reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._writing, False)
        with contextlib.suppress(OSError):  # without it, texts are left out sooner
            fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._rest = memoryview(b"")
        """Of the last text, what the server has not taken yet."""
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _serve(listener, reading, parent)
        listener.close()
        os.close(reading)

    def publish(self, text: bytes) -> None:
        """Serve this from here on. A server that has ended, or that another process of its user stopped, holds up nothing."""
        with contextlib.suppress(OSError):
            self._flush()
            if not self._rest:
                self._rest = memoryview(LENGTH.pack(len(text)) + text)
                self._flush()

    def _flush(self) -> None:
        while self._rest:
            self._rest = self._rest[os.write(self._writing, self._rest) :]

    def close(self) -> None:
        """End the process."""
        os.close(self._writing)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class _Server(ThreadingHTTPServer):
    """A server with a bounded number of threads."""

    daemon_threads = True

    def process_request(self, request: socket.socket, client_address: Any) -> None:  # type: ignore[override]
        """Answer in a thread, unless there are too many."""
        if threading.active_count() > CLIENTS_MAX:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers every GET with the text."""

    text: ClassVar[bytes] = b""
    timeout = CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        """The text."""
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  as http.server names it
        """Nothing: the agent's log is for what it does."""


def _serve(listener: socket.socket, reading: int, parent: int) -> NoReturn:
    """In the forked process."""
    try:
        signal.set_wakeup_fd(-1)
        _close_others(listener.fileno(), reading)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the agent ends it
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        if not die_with_parent(parent):  # after setuid(2), which clears it (prctl(2))
            os._exit(0)
        os.set_inheritable(listener.fileno(), False)
        server = _Server(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        threading.Thread(target=_follow, args=(reading,), daemon=True).start()
        server.serve_forever()
    finally:
        os._exit(1)


def _close_others(*kept: int) -> None:
    """Close what was inherited: the locks of hosts among it, which must be free when the agent is killed."""
    first = 3
    for number in sorted(kept):
        os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _follow(reading: int) -> None:
    """Take each text that the agent sends; its end is the end of this process."""
    with os.fdopen(reading, "rb") as stream:
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            _Handler.text = stream.read(LENGTH.unpack(head)[0])
    os._exit(0)
