"""A session with one worker: started, used over JSON lines, and ended with its controller.

Means to reach a host differ only in how they start a worker. `fleet.local` serves this machine, both for the host
itself and for a lab host (the worker enters its namespace). `fleet.ssh` serves others. A worker does not know its host
before `hello`, so workers can be started before the topology file has been read.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol, TypeVar, cast

from reconciler.errors import SHORT_OF_MEMORY, HostError, NetctlError
from reconciler.fleet.target import Target
from reconciler.kernel.run_directory.private import open_private, secure_directory
from reconciler.plan.document import CODEC
from reconciler.state.host import HostState
from reconciler.state.jsontext import SIZE_MAX_BYTES, MalformedError, parse_json
from reconciler.state.visible import visible
from reconciler.worker import protocol
from reconciler.worker.channel import Message, decode_error, dump_line
from reconciler.worker.protocol import PATIENCE_S, Event, Introduction, Request, decode_event, encode_request

LOG_DIRECTORY = Path("/run/netctl")
"""The directory for the last messages of a failed worker."""

BEATS = 12
"""The number of beats to such a worker within its patience."""

WAITS_MAX = 1000
"""The most bridges that a worker may wait for."""

SESSION_MAX_BYTES = 8 * SIZE_MAX_BYTES
"""The limit of all output of a worker in a session."""
WORDS_MAX_BYTES = 1 << 16
"""The number of bytes that are read from the end of a worker's other output."""
NO_MEMORY = 2
"""The status of a process that libnftables ends without memory (NFT_EXIT_NOMEM in include/nftables.h)."""

END_TIMEOUT_S = 10.0
"""The time that a worker may take to end after its last message."""

A = TypeVar("A")
OnEvent = Callable[[Event], None]


class AnswerError(HostError):
    """A host has answered with a message that no worker of this version sends; its session has ended."""


class WorkerDiedError(HostError):
    """The worker ended in the middle of a session. The fleet decides what that means for the current work."""


class ConnectionLostError(WorkerDiedError):
    """The connection to another machine ended in the middle of a session; the worker there may continue for a while."""


class ProcessHandle(Protocol):
    """The part of `subprocess.Popen` that a session uses."""

    pid: int
    returncode: int | Any
    """None until a thread has waited for its end."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """Its requests."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its answers."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or the negative number of a signal; TimeoutExpired if it still runs after `timeout` seconds."""

    def kill(self) -> None:
        """Send SIGKILL."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A process that uses the worker's protocol on its streams; `words` holds its other output."""

    process: ProcessHandle
    words: IO[bytes]

    def kill(self) -> None:
        """End it at once; for a process without unfinished work."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.words):
            if stream:
                with contextlib.suppress(BrokenPipeError):  # data that was not sent yet
                    stream.close()


class Session:
    """A session with the worker of one host. One request at a time; a cancellation may come from another thread.

    A second thread's request waits for the first's answer. After an interrupt, locks are released while requests are
    still running.
    """

    def __init__(self, target: Target, worker: WorkerProcess | None = None) -> None:
        """`hello` greets the worker, not this method; if there is none yet, `replace_worker` sets it."""
        self.target = target
        self._connected = worker
        self._requesting = threading.Lock()
        self._sending = threading.Lock()
        self._heard_bytes = 0
        self._overdue = ""
        """The reason why the controller ended the worker, if it did."""
        self.planned: HostState | None = None
        """The desired state that the worker has received last."""

    @property
    def _worker(self) -> WorkerProcess:
        if self._connected is None:
            raise HostError(f"there is no connection to {self.target.host}")
        return self._connected

    def hello(self, command: str, run: str = "", patience_s: float = PATIENCE_S, *, stays: bool = False) -> Introduction:
        """Name the worker's host to it; the answer describes the machine, and the topology's other hosts.

        Other controllers read `command` as the description of the lock's holder. On another machine `run` identifies
        this controller, because its process number means nothing there. After `patience_s` without a sign of life, the
        worker gives the controller up. With `stays`, it is to read the host again and again.
        """
        is_remote = self.target.ssh is not None
        hello = protocol.Hello(
            topology=self.target.topology,
            host_key=self.target.host_key,
            netns=self.target.netns,
            engines=self.target.engines,
            openvswitch=self.target.openvswitch,
            uplink=self.target.uplink,
            addresses=self.target.addresses,
            peers=self.target.peers,
            parent=0 if is_remote else os.getpid(),
            command=f"{command}, from {os.uname().nodename}" if is_remote else command,
            run=run if is_remote else "",
            patience_s=patience_s,
            stays=stays,
        )
        return self.call(hello)

    def call(self, request: Request[A], on_event: OnEvent | None = None) -> A:
        """The worker's answer. An error of the worker is raised here; WorkerDiedError if it has ended.

        AnswerError if it sends what a worker does not send.
        """
        with self._requesting, self._ending_when_overdue(request):
            answer = self._request(request, on_event)
        with self.reading(request):
            decoded: A = CODEC.decode(request.answer_type(), answer)
        return decoded

    def _request(self, request: Request[Any], on_event: OnEvent | None) -> Any:
        self._send(encode_request(request))
        done = waits = 0
        while line := self._read_line(request):
            with self.reading(request):
                message = parse_json(line)
                match message:
                    case {"answer": answer, **rest} if not rest:
                        return answer
                    case {"error": _}:
                        error = self._error(request, message)
                    case {"event": _} if on_event:
                        match event := decode_event(message):
                            # It rises with each event, so there are no more events than steps.
                            case protocol.Progress() if done < event.done:
                                done = event.done
                            case protocol.Waiting() if waits < WAITS_MAX:
                                waits += 1
                            case _:
                                raise MalformedError("a message that is not an answer")
                        on_event(event)
                        continue
                    case _:
                        raise MalformedError("a message that is not an answer")
            raise error
        raise self._death(request.verb())

    def _read_line(self, request: Request[Any]) -> bytes:
        """The next line of the worker; empty if it has ended. AnswerError if the line, or all lines together, are too long."""
        limit = request.answer_max_bytes
        line = cast("IO[bytes]", self._worker.process.stdout).readline(limit + 1)
        self._heard_bytes += len(line)
        if len(line) > limit:
            self._refuse(request, f"more than {limit >> 20} MiB")
        if self._heard_bytes > SESSION_MAX_BYTES:
            self._refuse(request, f"more than {SESSION_MAX_BYTES >> 20} MiB altogether")
        return line if line.endswith(b"\n") else b""

    @contextlib.contextmanager
    def reading(self, request: Request[Any]) -> Iterator[None]:
        """Parsing the answer to a request: within, AnswerError, which names the host, replaces MalformedError."""
        try:
            yield
        except MalformedError as error:
            self._refuse(request, str(error))

    def _refuse(self, request: Request[Any], what: str) -> NoReturn:
        """End the session: a late answer would look like the answer to another request."""
        self._worker.process.kill()
        where = f" ({self.target.destination})" if self.target.ssh else ""
        raise AnswerError(
            f"host {self.target.host}{where} answered `{request.verb()}` with {what}",
            f"find out which program answers on {self.target.host} before you trust that host: it is not a worker of netctl",
        )

    @contextlib.contextmanager
    def _ending_when_overdue(self, request: Request[Any]) -> Iterator[None]:
        """End a worker on another machine that does not answer in time."""
        timeout_s = request.timeout_s if self.target.ssh else None
        if timeout_s is None:
            yield
            return
        timer = threading.Timer(timeout_s, self.give_up, [f"no answer to `{request.verb()}` within {timeout_s:.0f} s"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def give_up(self, why: str) -> None:
        """End the connection, even during a message. The worker on the other machine then rolls back or keeps, by its state."""
        self._overdue = why
        if self._connected:
            self._connected.process.kill()

    def replace_worker(self, worker: WorkerProcess) -> None:
        """Continue with another worker, not yet greeted, after the first has died."""
        self.close()
        self._connected = worker
        self._overdue = ""
        self.planned = None

    def beat(self) -> None:
        """Send a sign of life to the worker. If that fails, the thread that waits for an answer detects it."""
        # A long message on a slow line is a sign of life by itself, and other hosts must not wait for its end.
        if self._connected is None or not self._sending.acquire(blocking=False):
            return
        try:
            with contextlib.suppress(OSError, ValueError):
                stream = cast("IO[bytes]", self._worker.process.stdin)
                stream.write(dump_line({"verb": "beat"}))
                stream.flush()
        finally:
            self._sending.release()

    @property
    def log(self) -> Path:
        """The file with the last messages of this host's worker, kept until an apply succeeds."""
        # The name of a host that only others remember is its destination, which is no file name.
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.target.host)
        return LOG_DIRECTORY / f"{self.target.topology}.worker.{name}.log"

    def cancel(self) -> None:
        """Ask the worker to stop after the current batch. If it has ended, the thread that waits for an answer detects it."""
        with contextlib.suppress(WorkerDiedError):
            self._send({"verb": "cancel"})

    def say_goodbye(self) -> None:
        """Close the worker's input, so that it ends by itself; `close` follows."""
        if self._connected is None:
            return
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", self._worker.process.stdin).close()

    def close(self) -> None:
        """End the session; the worker ends by itself, within at most a second."""
        if self._connected is None:
            return
        self.say_goodbye()
        try:
            self._worker.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._worker.process.kill()
            self._worker.process.wait()
        cast("IO[bytes]", self._worker.process.stdout).close()
        self._worker.words.close()

    def _send(self, message: Message) -> None:
        stream = cast("IO[bytes]", self._worker.process.stdin)
        try:
            with self._sending:
                stream.write(dump_line(message))
                stream.flush()
        except (BrokenPipeError, ValueError):
            raise self._death(str(message["verb"])) from None

    def _error(self, request: Request[Any], message: Message) -> NetctlError:
        error = decode_error(message)
        if not message.get("defect"):
            return error
        log = self._keep_words()
        return NetctlError(
            f"the worker of {self.target.host} has a defect, found during `{request.verb()}`: {error.message}",
            f"read the details in {log}" if log else "",
        )

    def _death(self, verb: str) -> WorkerDiedError:
        status = self._await_end()
        if self.target.ssh:
            words = read_words(self._worker.words)
            noisy = status == -signal.SIGXFSZ and "it prints too much on its standard error"
            reason = self._overdue or noisy or (words.splitlines()[-1].strip() if words else f"ssh ended with status {status}")
            help_text = "run netctl again when the host can be reached"
            return ConnectionLostError(f"the connection to {self.target.host} was lost: {reason.rstrip('.')}", help_text)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if status == NO_MEMORY:
            message = f"the worker of {self.target.host} ran out of memory during `{verb}`"
            return WorkerDiedError(message, SHORT_OF_MEMORY)
        log = self._keep_words()
        if log:
            help_text = f"read its last output in {log}"
        elif status == -signal.SIGKILL:
            help_text = "run netctl again, and look for `Out of memory` in the output of dmesg"
        else:
            help_text = "run netctl again"
        return WorkerDiedError(f"the worker of {self.target.host} {how} during `{verb}`", help_text)

    def _await_end(self) -> int:
        """The status of a worker that has closed its output, or reads no input; one that does not end is killed."""
        try:
            return self._worker.process.wait(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._worker.process.kill()
            return self._worker.process.wait()

    def _keep_words(self) -> str:
        """Save the worker's other output in a file of its own; its path, or "" without output or without a place for it."""
        words = read_words(self._worker.words)
        try:
            if words:
                secure_directory(self.log.parent)
                with os.fdopen(open_private(self.log, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as log:
                    log.write(visible(words) + "\n")
        except (OSError, HostError):
            return ""
        return str(self.log) if words else ""


def read_words(words: IO[bytes]) -> str:
    """The end of the text on standard error."""
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - WORDS_MAX_BYTES))
    return words.read(WORDS_MAX_BYTES).decode("utf-8", "replace").strip()
