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
"""How often a worker whose answer is not taken looks whether its controller was given up."""
WORDS_MAX = 4096
"""Of an error's message, and of its help, so many characters are shown."""
WORKER_ERRORS = {cls.__name__: cls for cls in (NetctlError, HostError, LockedError, ProtocolError)}
"""What a worker may raise."""


def dump_line(message: Message) -> bytes:
    """One message as a line. Half a character, as a name that is not UTF-8 may have, becomes a question mark."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def encode_error(error: NetctlError) -> Message:
    """An error of netctl's, to be raised again on the other side: as the nearest class that a worker may raise."""
    name = next(cls.__name__ for cls in type(error).__mro__ if WORKER_ERRORS.get(cls.__name__) is cls)
    return {"error": name, "message": error.message, "help": error.help_text}


def encode_defect(error: Exception) -> Message:
    """An exception that nobody foresaw. The traceback is on the worker's standard error, which its controller keeps."""
    return {"error": "NetctlError", "message": f"{type(error).__name__}: {error}", "help": "", "defect": True}


def decode_error(message: Message) -> NetctlError:
    """The error that an error message speaks of. MalformedError where it is none that a worker may end a command with.

    The class carries the exit status, so the worker has no free choice: it cannot say that only a difference was found, or that
    the file is wrong.
    """
    cls = WORKER_ERRORS.get(message["error"]) if isinstance(message["error"], str) else None
    words, help_text = message.get("message"), message.get("help", "")
    if cls is None or not isinstance(words, str) or not isinstance(help_text, str):
        raise MalformedError("an error of no known form")
    return cls(_cut(words), _cut(help_text))


def _cut(text: str) -> str:
    return text if len(text) <= WORDS_MAX else text[:WORDS_MAX] + " …"


class Inbox:
    """The requests that come in, read by a thread of its own, so that a cancellation is seen while a request is worked on."""

    def __init__(self, stream: io.BufferedReader) -> None:
        """`stream` is read to its end."""
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        """Set when there is nobody to answer any more: the stream has ended, or was given up."""
        self.heard_s = time.monotonic()
        """When the controller was last heard of."""
        self._stream = stream
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Message | None:
        """The next request; None when the controller has gone."""
        return self._requests.get()

    def _lines(self) -> Iterator[bytes]:
        """Whole lines. Each piece of a long line is a sign of life, however slowly the pieces arrive."""
        parts: list[bytes] = []
        while piece := self._stream.read1(PIECE_BYTES):
            self.heard_s = time.monotonic()
            *ends, rest = piece.split(b"\n")
            for end in ends:
                yield b"".join([*parts, end])
                parts = []
            parts.append(rest)

    def end(self) -> None:
        """Give the controller up: what is being done is cancelled, and no request follows."""
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
    """The messages that go out. A controller that takes none holds a worker up only until that gives the controller up."""

    def __init__(self, descriptor: int, ended: threading.Event) -> None:
        """`descriptor` is a pipe or a socket; `ended` is set when the controller is given up."""
        self._descriptor = descriptor
        self._ended = ended
        self._sending = threading.Lock()
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    def send(self, message: Message) -> None:
        """Send one message, from any thread. BrokenPipeError if the controller has gone, or was given up."""
        rest = memoryview(dump_line(message))
        with self._sending:
            while rest:
                # A write of PIPE_BUF bytes does not block after poll(2) has reported room (pipe(7)).
                if self._room.poll(ROOM_INTERVAL_MS):
                    rest = rest[os.write(self._descriptor, rest[: select.PIPE_BUF]) :]
                elif self._ended.is_set():
                    raise BrokenPipeError
