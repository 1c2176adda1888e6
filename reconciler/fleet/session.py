"""A session with one worker: started, spoken to in JSON lines, and ended with its controller.

How a worker is started is the only thing in which ways to reach a host differ: `fleet.local` is for this machine, be it for
the host itself or for a lab host (the worker enters the namespace), and `fleet.ssh` for others. A worker does not know which
host it is until it is greeted, so workers can be started before the topology file has been read.
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
from reconciler.state.jsontext import SIZE_MAX_BYTES, MalformedError, parse_json
from reconciler.state.visible import visible
from reconciler.worker import protocol
from reconciler.worker.channel import Message, decode_error, dump_line
from reconciler.worker.protocol import PATIENCE_S, Event, Introduction, Request, decode_event, encode_request

LOG_DIRECTORY = Path("/run/netctl")
"""Where the last words of a worker that failed are kept."""

BEATS = 12
"""How often such a worker hears of us within its patience."""

WAITS_MAX = 1000
"""So many bridges a worker may wait for."""

SESSION_MAX_BYTES = 8 * SIZE_MAX_BYTES
"""Of all that a worker says in a session."""
WORDS_MAX_BYTES = 1 << 16
"""So much is read of what a worker has printed besides: the end of it."""
NO_MEMORY = 2
"""The status with which libnftables ends a process that gets no memory (NFT_EXIT_NOMEM in include/nftables.h)."""

END_TIMEOUT_S = 10.0
"""How long a worker that speaks no more may take to end."""

A = TypeVar("A")
OnEvent = Callable[[Event], None]


class AnswerError(HostError):
    """A host has answered with what no worker of this version does; the session with it has ended."""


class WorkerDiedError(HostError):
    """The worker ended in the middle of a session. What that means for what was begun is for the fleet to say."""


class ConnectionLostError(WorkerDiedError):
    """The connection to another machine ended in the middle of a session; the worker there may go on for a while."""


class ProcessHandle(Protocol):
    """What of `subprocess.Popen` a session asks for."""

    pid: int
    returncode: int | Any
    """None as long as nobody has waited for its end."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """Its requests."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its answers."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, or the negative number of a signal; TimeoutExpired where it still runs after `timeout` seconds."""

    def kill(self) -> None:
        """SIGKILL."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A process that speaks the worker's protocol on its streams; `words` holds what it prints besides."""

    process: ProcessHandle
    words: IO[bytes]

    def kill(self) -> None:
        """End it at once; for one that has nothing to finish."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.words):
            if stream:
                with contextlib.suppress(BrokenPipeError):  # what was not yet sent
                    stream.close()


class Session:
    """A session with the worker of one host. One request at a time; a cancellation may come from another thread.

    A second thread's request waits for the first's answer: where the user interrupts, locks are let go of beside requests that
    are still on their way.
    """

    def __init__(self, target: Target, worker: WorkerProcess | None = None) -> None:
        """The worker is greeted by `hello`, not here; where there is none yet, `replace_worker` brings it."""
        self.target = target
        self._connected = worker
        self._requesting = threading.Lock()
        self._sending = threading.Lock()
        self._heard_bytes = 0
        self._overdue = ""
        """Why the worker was ended by us, where that was."""

    @property
    def _worker(self) -> WorkerProcess:
        if self._connected is None:
            raise HostError(f"there is no connection to {self.target.host}")
        return self._connected

    def hello(self, command: str, run: str = "", patience_s: float = PATIENCE_S) -> Introduction:
        """Tell the worker which host it is; what it says of the machine, and of the topology's other hosts.

        `command` is what other controllers are told of the lock's holder. On another machine `run` stands for this controller,
        whose process number says nothing there, and `patience_s` is how long the worker does without hearing of it.
        """
        far = self.target.ssh is not None
        hello = protocol.Hello(
            topology=self.target.topology,
            host_key=self.target.host_key,
            netns=self.target.netns,
            engines=self.target.engines,
            openvswitch=self.target.openvswitch,
            uplink=self.target.uplink,
            addresses=self.target.addresses,
            peers=self.target.peers,
            parent=0 if far else os.getpid(),
            command=f"{command}, from {os.uname().nodename}" if far else command,
            run=run if far else "",
            patience_s=patience_s,
        )
        return self.call(hello)

    def call(self, request: Request[A], on_event: OnEvent | None = None) -> A:
        """The worker's answer. An error of the worker's is raised here; WorkerDiedError where it has ended.

        AnswerError where it says what a worker does not say.
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
                            # It rises with each event, so there are no more of them than steps.
                            case protocol.Progress() if done < event.done:
                                done = event.done
                            case protocol.Waiting() if waits < WAITS_MAX:
                                waits += 1
                            case _:
                                raise MalformedError("a message that is no answer")
                        on_event(event)
                        continue
                    case _:
                        raise MalformedError("a message that is no answer")
            raise error
        raise self._death(request.verb())

    def _read_line(self, request: Request[Any]) -> bytes:
        """The next line of the worker's; empty where it has ended. AnswerError where the line, or all lines, are too long."""
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
        """What is read within is the answer to a request: AnswerError, which names the host, in place of MalformedError."""
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
            f"another program than netctl's worker speaks on {self.target.host}: find out which before you trust that host",
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
        """End the connection, whatever is on its way; the worker on the other machine then takes back what it was to."""
        self._overdue = why
        if self._connected:
            self._connected.process.kill()

    def replace_worker(self, worker: WorkerProcess) -> None:
        """Go on with another worker, not yet greeted, after the first has died."""
        self.close()
        self._connected = worker
        self._overdue = ""

    def beat(self) -> None:
        """Tell the worker that the controller lives. Where it cannot be told, that is found by who waits for its answer."""
        # A long message on a slow line is a sign of life by itself, and other hosts are not to wait for its end.
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
        """Where the last words of this host's worker are kept, until an apply succeeds."""
        # A host that only others remember is called by its destination, which is no file name.
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.target.host)
        return LOG_DIRECTORY / f"{self.target.topology}.worker.{name}.log"

    def cancel(self) -> None:
        """Ask the worker to stop after the batch in hand. Where it has ended, that is found by who waits for its answer."""
        with contextlib.suppress(WorkerDiedError):
            self._send({"verb": "cancel"})

    def say_goodbye(self) -> None:
        """Close the worker's input, at which it ends by itself; to be followed by `close`."""
        if self._connected is None:
            return
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", self._worker.process.stdin).close()

    def close(self) -> None:
        """End the session; the worker ends by itself, and is not waited for longer than a second."""
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
            f"the worker of {self.target.host} came upon a defect of netctl's while it was asked to {request.verb()}: "
            f"{error.message}",
            f"the details are in {log}" if log else "",
        )

    def _death(self, verb: str) -> WorkerDiedError:
        status = self._await_end()
        if self.target.ssh:
            words = read_words(self._worker.words)
            noisy = status == -signal.SIGXFSZ and "it says too much on its standard error"
            reason = self._overdue or noisy or (words.splitlines()[-1].strip() if words else f"ssh ended with status {status}")
            help_text = "run netctl again when the host can be reached"
            return ConnectionLostError(f"the connection to {self.target.host} was lost: {reason.rstrip('.')}", help_text)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if status == NO_MEMORY:
            message = f"the worker of {self.target.host} ran out of memory while it was asked to {verb}"
            return WorkerDiedError(message, SHORT_OF_MEMORY)
        log = self._keep_words()
        if log:
            help_text = f"its last words are in {log}"
        elif status == -signal.SIGKILL:
            help_text = "run netctl again; if the kernel killed it for want of memory, dmesg says so (Out of memory)"
        else:
            help_text = "run netctl again"
        return WorkerDiedError(f"the worker of {self.target.host} {how} while it was asked to {verb}", help_text)

    def _await_end(self) -> int:
        """The status of a worker that has closed its output, or takes no input; what does not end then is ended."""
        try:
            return self._worker.process.wait(timeout=END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._worker.process.kill()
            return self._worker.process.wait()

    def _keep_words(self) -> str:
        """What the worker printed, in a file of its own; its path, or "" where it said nothing or cannot be kept."""
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
    """The end of what was said on standard error."""
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - WORDS_MAX_BYTES))
    return words.read(WORDS_MAX_BYTES).decode("utf-8", "replace").strip()
