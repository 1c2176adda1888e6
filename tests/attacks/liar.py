"""A worker that lies: it speaks the worker's protocol over pipes, and answers whatever a test has it say."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any

from reconciler.fleet.session import WorkerProcess
from reconciler.plan.document import CODEC, HostPlan, live_plan
from reconciler.state.host import HostFacts, HostState
from reconciler.state.record import Change, Record

Answer = Callable[[dict[str, Any]], Any]
"""What is answered to a request: bytes as they are, else the value of `answer`."""

FACTS = HostFacts(exists=True, uplink="eth0", uplink_mac="02:00:00:00:00:01", addresses=("192.0.2.12/24",))


class Liar:
    """The process, as `fleet.session.Process` wants it."""

    pid = 0

    def __init__(self, answers: dict[str, Answer | Any]) -> None:
        """`answers` by verb; what is not among them is answered as by an honest worker with nothing on its host."""
        self.returncode: int | None = None
        self.verbs: list[str] = []
        self.sent_bytes = 0
        self._answers = {**HONEST, **answers}
        requests, to_liar = os.pipe()
        from_liar, out = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(to_liar, "wb")
        self.stdout: IO[bytes] = os.fdopen(from_liar, "rb")
        self._requests, self._out = os.fdopen(requests, "rb"), os.fdopen(out, "wb", buffering=0)
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._requests:
            for line in self._requests:
                request = json.loads(line)
                if request["verb"] in ("beat", "cancel"):
                    continue
                self.verbs.append(request["verb"])
                answer = self._answers[request["verb"]]
                self._say(answer(request) if callable(answer) else answer)
        self._end(0)

    def _say(self, answer: Any) -> None:
        if isinstance(answer, Iterator):
            for part in answer:
                self._write(part)
        elif isinstance(answer, bytes):
            self._write(answer)
        else:
            self._write(json.dumps({"answer": answer}).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._ended.is_set():
                raise OSError
            count = self._out.write(data[at : at + 4096])
            at += count or 0
            self.sent_bytes += count or 0

    def _end(self, status: int) -> None:
        if not self._ended.is_set():
            self.returncode = status
            self._ended.set()
            with contextlib.suppress(OSError):
                self._out.close()

    def wait(self, timeout: float | None = None) -> int:
        self._ended.wait(timeout)
        return self.returncode or 0

    def kill(self) -> None:
        self._end(-9)


def lie(answers: dict[str, Answer | Any]) -> WorkerProcess:
    """A worker that lies."""
    return WorkerProcess(Liar(answers), tempfile.TemporaryFile())


def plan_of(live: HostState, steps: int = 1) -> Answer:
    """The answer to "plan" of a host that says it has `live`, and that all of it changes."""

    def answer(request: dict[str, Any]) -> Any:
        desired = CODEC.decode(HostState, request["desired"])
        changes = [Change(ref, record, None, "") for ref, record in live.records.items()]
        changes += [Change(ref, None, record, "") for ref, record in desired.records.items() if ref not in live.records]
        fingerprint = "0" * 64 if request["document"] else ""
        return CODEC.encode(live_plan(HostPlan(request["host"], fingerprint, steps, tuple(changes))))

    return answer


def live(*records: Record) -> Answer:
    """`plan_of` these records."""
    return plan_of(HostState.of(records))


HONEST: dict[str, Answer | Any] = {
    "hello": {"machine": "m", "peers": {}},
    "read": CODEC.encode(FACTS),
    "plan": live(),
    "apply": {"steps_done": 1},
    "check": [],
    "rollback": lambda request: {"host": request["host"]},
    "rollback-to": lambda request: {"host": request["host"]},
} | dict.fromkeys(
    ("lock", "prepare", "arm", "confirm", "keep", "commit", "remember", "forget", "release", "close-listeners"), None
)
