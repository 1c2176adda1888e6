"""The worker's entry: `python -m reconciler.worker`, started by `fleet.session` and spoken to on its standard streams.

It is told who it is by the first message, so a controller can start workers before it has read the topology file. It ends
when its controller closes its input, or dies. Signals from the terminal are for the controller, which then cancels.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from reconciler.errors import NetctlError, ProtocolError, translate
from reconciler.plan.document import CODEC
from reconciler.worker.channel import Inbox, Message, Outbox, encode_defect, encode_error
from reconciler.worker.machine import KernelMachine, open_machine
from reconciler.worker.protocol import PATIENCE_S, Hello, Introduction, decode_request, encode_event
from reconciler.worker.work import Work

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal or a service manager sends to end a command; a worker leaves it to its controller."""


def main() -> None:
    """Serve one controller until it is done."""
    inbox, send = open_channel()
    try:
        serve(inbox, send, Service(send, inbox.cancelled.is_set))
    except BrokenPipeError:
        os._exit(1)  # the controller has gone, and nobody is left to tell
    # Threads that wait for input would hold up a normal end.
    os._exit(0)


def open_channel() -> tuple[Inbox, Callable[[Message], None]]:
    """What comes from the controller, and what sends to it; the process is made ready for a worker's life."""
    # It lives for one command, and what it makes lives as long: collecting garbage would only cost time.
    gc.disable()
    faulthandler.enable()
    # A handler, not SIG_IGN, which the processes of containers would inherit.
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    requests, answers = _take_streams()
    inbox = Inbox(requests)
    return inbox, Outbox(answers, inbox.ended).send


def _take_streams() -> tuple[io.BufferedReader, int]:
    """The stream and the descriptor to the controller, out of reach of whatever else reads standard input or prints."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def serve(inbox: Inbox, send: Callable[[Message], None], service: Service) -> None:
    """Answer requests until the controller ends the session. BrokenPipeError where it cannot be answered."""
    while (request := inbox.next()) is not None:
        try:
            answer: Message = {"answer": service.answer(request)}
        except NetctlError as error:
            answer = encode_error(error)
        except Exception as error:  # noqa: BLE001  the last line of defence: it becomes a sentence, and the traceback a file
            told = translate(error)
            if told is None:
                traceback.print_exc()
            answer = encode_error(told) if told else encode_defect(error)
        send(answer)


class Service:
    """Answers requests; which host they are about is said by the first."""

    def __init__(self, send: Callable[[Message], None], cancelled: Callable[[], bool]) -> None:
        """`send` takes what goes to the controller; `cancelled` says whether the controller has asked to stop."""
        self._send = send
        self._cancelled = cancelled
        self._work: Work | None = None
        self._machine: KernelMachine | None = None
        self.patience_s = PATIENCE_S

    def answer(self, message: Message) -> Any:
        """The answer to one request, in JSON. NetctlError where it fails."""
        request = decode_request(message)
        if isinstance(request, Hello):
            return CODEC.encode(self._greet(request))
        if self._work is None:
            raise ProtocolError("the worker has not been told which host it is")
        return CODEC.encode(self._work.answer(request))

    def _greet(self, hello: Hello) -> Introduction:
        self.patience_s = hello.patience_s
        self._machine = open_machine(hello)
        self._work = Work(self._machine, lambda event: self._send(encode_event(event)), self._cancelled)
        return self._machine.introduce()

    def mark(self, *, orphan: bool) -> None:
        """Let others know by the host's lock whether the controller is lost."""
        if self._machine:
            self._machine.mark(orphan=orphan)

    def end(self) -> None:
        """The controller has gone: take back what it has not committed. NetctlError where that is not possible."""
        if self._work:
            self._work.end()

    def log(self, line: str) -> None:
        """A line in the host's log."""
        if self._machine:
            self._machine.log(line)

    def leave(self) -> None:
        """Let go of the host."""
        if self._machine:
            self._machine.release()


if __name__ == "__main__":
    main()
