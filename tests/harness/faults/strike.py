"""Bad luck at a chosen moment: a netctl whose controller and workers are forked from the test, and meet a fault on their way.

`quick_netctl` runs the command as `main` does, but its processes are forked, with everything imported already. Users' processes
are started; forked ones make a hundred kills cost seconds. Every step of a plan goes out in a batch of its own, so a fault can
strike between any two. Steps of nftables stay together, because they are one transaction. With
`Fault("kill", n, grain="operation")` batches stay whole, and the kill comes after the n-th operation instead, be it in the middle
of a step. An operation is what goes out as one: requests of netlink, a mount, a write.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.cli import main as cli
from reconciler.fleet import fleet
from reconciler.fleet.session import WorkerProcess
from reconciler.kernel import namespaces
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.netfilter import nft
from reconciler.kernel.netlink import rtnetlink as netlink
from reconciler.kernel.processes import commands as process
from reconciler.kernel.settings import sysctl
from reconciler.kernel.uplink import move as uplink
from reconciler.plan.order import Batch
from reconciler.state.steps.backends import NFT
from reconciler.state.steps.step import StepError
from reconciler.worker import __main__ as worker
from tests.harness.machine import Machine, Running
from tests.harness.netctl import Outcome
from tests.harness.spawn import import_netctl

import_netctl()

GO_ON = Path("/run/go-on")
REFUSAL = "refused by the test"
OPERATIONS = (
    (netlink.RouteSocket, "_request_chunk"),
    (namespaces, "_call"),
    (namespaces, "_write_if_there"),
    (namespaces, "_unmount"),
    (sysctl, "_write"),
    (uplink, "write_kept"),
    (sysctl, "write_sysctl"),
    (nft.NftSession, "_command"),
    (process, "spawn"),
    (process, "send_signal"),
)
"""What changes the kernel, a file of netctl's, or a process."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at step (or operation) number `at`, counted from 1 over all hosts and both phases.

    - kill: controller and workers get SIGKILL when it is done
    - kill-worker: only the worker does
    - fail: it is refused, without having been done
    - fail-late: it is refused, though it has been done
    - fail-twice: it is refused, and so is the first step of the rollback
    - pause: the worker stands still after it until there is a file GO_ON
    """

    kind: str = "none"
    at: int = 0
    grain: str = "step"
    log: Path | None = None
    """Where each step or operation is written down: its number, and what it is."""

    def note(self, number: int, what: str) -> None:
        """Write it down. Workers append side by side."""
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{number} {what}\n")


class Counter:
    """A number that all processes of one netctl share."""

    def __init__(self) -> None:
        """Two numbers, both 0."""
        self._memory = mmap.mmap(-1, 16)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * place)[0])

    def count(self, place: int = 0) -> int:
        number = self[place] + 1
        struct.pack_into("q", self._memory, 8 * place, number)
        return number


def quick_netctl(machine: Machine, *arguments: str | Path, fault: Fault = Fault()) -> tuple[Outcome, int]:
    """Run the command in the machine, and meet the fault; how it ended, and how many steps (or operations) it began."""
    running, counter = start_quick(machine, *arguments, fault=fault)
    return running.wait(), counter[0]


def start_quick(machine: Machine, *arguments: str | Path, fault: Fault = Fault()) -> tuple[Running, Counter]:
    """The same, and go on: the counter's second number is 1 once the fault has struck."""
    counter = Counter()

    def body() -> int:
        os.environ["NO_COLOR"] = "1"
        controller = os.getpid()
        fleet.start_local_worker = lambda: fork_worker(lambda: arm(fault, counter, controller))  # type: ignore[attr-defined]
        return cli.main([*map(str, arguments)])

    return machine.start(body), counter


def wait_for_fault(counter: Counter, timeout_s: float = 20.0) -> None:
    """Return when the fault has struck."""
    deadline = time.monotonic() + timeout_s
    while counter[1] == 0:
        assert time.monotonic() < deadline, "the fault did not strike"
        time.sleep(0.005)


# --- forked workers ---------------------------------------------------------------------------------------------------


class ForkedProcess:
    """As much of `subprocess.Popen` as a session asks for."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        """Of a child, by its number and our ends of its streams."""
        self.pid = pid
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or 60)
        while self._status is None:
            found, code = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 60)
            else:
                time.sleep(0.001)
        return self._status

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)


def fork_worker(prepare: Callable[[], None]) -> WorkerProcess:
    """What `start_local_worker` does, by a fork."""
    words = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the worker runs
    requests_out, requests_in = os.pipe()
    answers_out, answers_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        for number, descriptor in enumerate((requests_out, answers_in, words.fileno())):
            os.dup2(descriptor, number)
        os.closerange(3, 256)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        prepare()
        worker.main()
    os.close(requests_out)
    os.close(answers_in)
    process: Any = ForkedProcess(pid, requests_in, answers_out)
    return WorkerProcess(process, words)


# --- faults -----------------------------------------------------------------------------------------------------------


def arm(fault: Fault, counter: Counter, controller: int) -> None:
    """Make this process one that meets the fault."""
    victims = (controller, os.getpid()) if fault.kind == "kill" else (os.getpid(),)
    if fault.grain == "operation":
        for owner, name in OPERATIONS:
            setattr(owner, name, _counted(getattr(owner, name), fault, counter, victims))
        return
    run_batch = KernelHost.run
    met: list[Fault] = []

    def run_each(self: KernelHost, batch: Batch) -> None:
        size = len(batch.steps) if batch.backend == NFT else 1
        for first in range(0, len(batch.steps), size):
            part = replace(batch, steps=batch.steps[first : first + size], refs=batch.refs[first : first + size])
            number = counter.count()
            fault.note(number, f"{type(part.steps[0]).__name__} {part.netns.partition(':')[0]}")
            struck = number == fault.at and counter.count(1) == 1
            again = fault.kind == "fail-twice" and bool(met)
            if struck:
                met.append(fault)
            if again or (struck and fault.kind in {"fail", "fail-twice"}):
                raise StepError(part.steps[0], REFUSAL)
            run_batch(self, part)
            if struck and fault.kind == "fail-late":
                raise StepError(part.steps[0], REFUSAL)
            if struck and fault.kind.startswith("kill"):
                kill(victims)
            while struck and fault.kind == "pause" and not GO_ON.exists():
                time.sleep(0.005)

    KernelHost.run = run_each  # type: ignore[method-assign]


def _counted(operation: Any, fault: Fault, counter: Counter, victims: tuple[int, ...]) -> Any:
    def run(*arguments: Any, **named: Any) -> Any:
        result = operation(*arguments, **named)
        number = counter.count()
        fault.note(number, operation.__name__)
        if number == fault.at:
            kill(victims)
        return result

    return run


def kill(victims: tuple[int, ...]) -> None:
    """SIGKILL, to this process last."""
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    time.sleep(60)
