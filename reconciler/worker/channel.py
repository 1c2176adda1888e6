"""The lines between a controller and a worker, and errors that travel on them.

One JSON object a line:

    to the worker     {"verb": "read", …}          one request at a time; {"verb": "cancel"} may come in between, unanswered,
                      {"verb": "beat"}             as may this, which says that the controller lives
    from the worker   {"event": "progress", …}     any number of these,
                      {"answer": …}                then one of these,
                      {"error": "HostError", "message": …, "help": …}    or one of these
"""

from __future__ import annotations

import io
import json
import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

from reconciler.errors import HostError, LockedError, NetctlError, ProtocolError
from reconciler.state.jsontext import MalformedError

Message = dict[str, Any]
PIECE_BYTES = 1 << 16
ROOM_INTERVAL_MS = 100
"""The interval at which a worker that waits to send checks whether its controller was given up."""
WORDS_MAX = 4096
"""The number of characters that are shown of an error's message, and of its help."""
WORKER_ERRORS = {cls.__name__: cls for cls in (NetctlError, HostError, LockedError, ProtocolError)}
"""The errors that a worker may raise."""


def dump_line(message: Message) -> bytes:
    """One message as a line. A lone surrogate, as in a name that is not UTF-8, becomes a question mark."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def encode_error(error: NetctlError) -> Message:
    """An error of netctl's, for the other side to raise: as the nearest class that a worker may raise."""
    name = next(cls.__name__ for cls in type(error).__mro__ if WORKER_ERRORS.get(cls.__name__) is cls)
    return {"error": name, "message": error.message, "help": error.help_text}


def encode_defect(error: Exception) -> Message:
    """An unexpected exception. The traceback is on the worker's standard error, which its controller keeps."""
    return {"error": "NetctlError", "message": f"{type(error).__name__}: {error}", "help": "", "defect": True}


def decode_error(message: Message) -> NetctlError:
    """The error in an error message. MalformedError if a worker may not end a command with it.

    The class carries the exit status, so the worker has no free choice. It cannot report that only a difference was
    found, or that the file is wrong.
    """
    cls = WORKER_ERRORS.get(message["error"]) if isinstance(message["error"], str) else None
    words, help_text = message.get("message"), message.get("help", "")
    if cls is None or not isinstance(words, str) or not isinstance(help_text, str):
        raise MalformedError("an error of no known form")
    return cls(_cut(words), _cut(help_text))


def _cut(text: str) -> str:
    return text if len(text) <= WORDS_MAX else text[:WORDS_MAX] + " …"


class Inbox:
    """The incoming requests. A thread of its own reads them, so that a cancellation is seen during a request."""

    def __init__(self, stream: io.BufferedReader) -> None:
        """`stream` is read to its end."""
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        """Set when there is no receiver for answers: the stream has ended, or was given up."""
        self.heard_s = time.monotonic()
        """The time of the last sign of life from the controller."""
        self._stream = stream
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Message | None:
        """The next request; None when the controller has ended."""
        return self._requests.get()

    def _lines(self) -> Iterator[bytes]:
        """Whole lines. Each piece of a long line is a sign of life, even if the pieces arrive slowly."""
        parts: list[bytes] = []
        while piece := self._stream.read1(PIECE_BYTES):
            self.heard_s = time.monotonic()
            *ends, rest = piece.split(b"\n")
            for end in ends:
                yield b"".join([*parts, end])
                parts = []
            parts.append(rest)

    def end(self) -> None:
        """Give the controller up: the current request is cancelled, and no other follows."""
        self.ended.set()
        self.cancelled.set()
        self._requests.put(None)

    def _read(self) -> None:
        for line in self._lines():
            message: Message = json.loads(line)
            if message["verb"] == "cancel":
                self.cancelled.set()
            elif message["verb"] != "beat":
                self._requests.put(message)
        self.end()


class Outbox:
    """The outgoing messages. A controller that does not read delays a worker only until the worker gives it up."""

    def __init__(self, descriptor: int, ended: threading.Event) -> None:
        """`descriptor` is a pipe or a socket; `ended` is set when the controller is given up."""
        self._descriptor = descriptor
        self._ended = ended
        self._sending = threading.Lock()
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    def send(self, message: Message) -> None:
        """Send one message, from any thread. BrokenPipeError if the controller has ended, or was given up."""
        rest = memoryview(dump_line(message))
        with self._sending:
            while rest:
                # A write of PIPE_BUF bytes does not block after poll(2) has reported room (pipe(7)).
                if self._room.poll(ROOM_INTERVAL_MS):
                    rest = rest[os.write(self._descriptor, rest[: select.PIPE_BUF]) :]
                elif self._ended.is_set():
                    raise BrokenPipeError
