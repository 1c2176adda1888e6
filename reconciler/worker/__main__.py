"""The worker's entry: `python -m reconciler.worker`. `fleet.session` starts it, and talks to it on its standard streams.

The first message names its host, so a controller can start workers before it has read the topology file. It ends when
its controller closes its input, or dies. Signals from the terminal are for the controller, which then cancels.
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
"""Signals by which a terminal or a service manager ends a command; a worker leaves them to its controller."""


def main() -> None:
    """Serve one controller until it ends the session."""
    inbox, send = open_channel()
    try:
        serve(inbox, send, Service(send, inbox.cancelled.is_set))
    except BrokenPipeError:
        os._exit(1)  # the controller is lost, so the message has no receiver
    # Threads that wait for input would delay a normal end.
    os._exit(0)


def open_channel() -> tuple[Inbox, Callable[[Message], None]]:
    """The requests of the controller, and the function that sends to it; it also prepares the process for work as a worker."""
    # It lives for one command, and so do its objects: garbage collection would only cost time.
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
    """The stream and the descriptor to the controller, out of reach of code that reads standard input or prints."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def serve(inbox: Inbox, send: Callable[[Message], None], service: Service) -> None:
    """Answer requests until the controller ends the session. BrokenPipeError if the answer cannot be sent."""
    while (request := inbox.next()) is not None:
        try:
            answer: Message = {"answer": service.answer(request)}
        except NetctlError as error:
            answer = encode_error(error)
        except Exception as error:  # noqa: BLE001  the last line of defence: it becomes a sentence, and the traceback a file
            translated = translate(error)
            if translated is None:
                traceback.print_exc()
            answer = encode_error(translated) if translated else encode_defect(error)
        send(answer)


class Service:
    """Answers requests; the first one names the host."""

    def __init__(self, send: Callable[[Message], None], cancelled: Callable[[], bool]) -> None:
        """`send` sends a message to the controller; `cancelled` says whether the controller has asked to stop."""
        self._send = send
        self._cancelled = cancelled
        self._work: Work | None = None
        self._machine: KernelMachine | None = None
        self.patience_s = PATIENCE_S

    def answer(self, message: Message) -> Any:
        """The answer to one request, in JSON. NetctlError if it fails."""
        request = decode_request(message)
        if isinstance(request, Hello):
            return CODEC.encode(self._greet(request))
        if self._work is None:
            raise ProtocolError("cannot answer: the worker does not know its host yet")
        return CODEC.encode(self._work.answer(request))

    def _greet(self, hello: Hello) -> Introduction:
        self.patience_s = hello.patience_s
        self._machine = open_machine(hello)
        self._work = Work(self._machine, lambda event: self._send(encode_event(event)), self._cancelled)
        return self._machine.introduce()

    def mark(self, *, orphan: bool) -> None:
        """Note in the host's lock whether the controller is lost, for other controllers."""
        if self._machine:
            self._machine.mark(orphan=orphan)

    def end(self) -> None:
        """The controller has ended: roll back what it has not committed. NetctlError if that is not possible."""
        if self._work:
            self._work.end()

    def log(self, line: str) -> None:
        """Write a line to the host's log."""
        if self._machine:
            self._machine.log(line)

    def leave(self) -> None:
        """Release the host."""
        if self._machine:
            self._machine.release()


if __name__ == "__main__":
    main()
