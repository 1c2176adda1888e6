"""Many trials of faults, each on the way from one state of a machine to another, and a look at the result.

What a state looks like without a fault is found first. After a trial the machine is compared with that, link by link
and file by file. Trials are many and wait for the kernel most of the time, so several machines work side by side.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from _pytest.outcomes import Failed

from tests.harness.faults.strike import Fault, quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome
from tests.harness.topologies.local import LAB_SMALL, LOCAL, LOCAL_CHANGED, furnish, write

MACHINES = 4
EMPTY = ""
TEXTS = {"local": LOCAL, "changed": LOCAL_CHANGED, "lab": LAB_SMALL}
"""The states by name; EMPTY is the one in which nothing has been applied."""
FAULTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """From `start` on the way to `goal`, with a fault; then an apply or destroy leads to `then` (None: nothing does)."""

    start: str
    goal: str
    then: str | None
    fault: Fault
    status: int | None = None
    """What netctl must end with, where that counts."""


class Walker:
    """A machine that knows which state it is in, and what every state looks like when no process is killed."""

    def __init__(self, folder: Path) -> None:
        """Nothing is applied yet."""
        self.machine = Machine.make(folder)
        self.file = write(self.machine, LOCAL)
        self.looks: dict[str, Snapshot] = {}
        self.state = EMPTY
        self.outcome = Outcome(0, "", "")

    def move(self, state: str, fault: Fault = Fault(), file_of: str = "") -> int:  # noqa: B008  frozen
        """Apply or destroy, to its end or to the fault; how many steps (or operations) were begun."""
        if state or file_of:
            self.file.write_text(TEXTS[state or file_of])
        outcome, count = quick_netctl(self.machine, "apply" if state else "destroy", "-q", self.file, fault=fault)
        self.outcome = outcome
        if fault.kind == "none":
            assert outcome.status == 0, f"to {state or 'nothing'}: {outcome.err}"
        self.state = state
        return count

    def look(self) -> str:
        """How it differs from the state that it should be in; the first look at a state records what that is."""
        seen = read_live(self.machine)
        return differences(self.looks.setdefault(self.state, seen), seen)

    def attempt(self, trial: Trial) -> str:
        """What is wrong after the trial; "" for nothing."""
        after = trial.start if trial.then is None else trial.then
        for state in dict.fromkeys((EMPTY, after, trial.start)):
            if state not in self.looks:
                self.move(state, file_of=trial.goal)
                self.look()
        if self.state != trial.start:
            self.move(trial.start)
        self.move(trial.goal, trial.fault, file_of=trial.start)
        if trial.status is not None and self.outcome.status != trial.status:
            return f"it ended with {self.outcome.status}: {self.outcome.err}"
        self.state = trial.start
        if trial.then is not None:
            self.move(trial.then, file_of=trial.goal or trial.start)
        return self.look()


def carry_out(folder: Path, trials: Sequence[Trial]) -> str:
    """What is wrong with those that fail, the first three of them; "" where all is well."""
    walker = Walker(folder)
    faults: list[str] = []
    try:
        walker.machine.sh("ip netns add x; ip netns delete x")
        furnish(walker.machine)
        for trial in trials:
            try:
                wrong = walker.attempt(trial)
            except (AssertionError, Failed) as error:
                wrong = str(error)
            if wrong:
                faults.append(f"{trial}:\n{wrong}")
            if len(faults) == FAULTS_SHOWN:
                break
    finally:
        walker.machine.end()
    return "\n".join(faults)


def read_way(folder: Path, start: str, goal: str, grain: str) -> list[str]:
    """What the steps or operations of the way are, in order: the class of a step and the sort of its namespace."""
    walker, log = Walker(folder), folder / f"{start}-{goal}-{grain}"
    try:
        furnish(walker.machine)
        if start:
            walker.move(start)
        walker.move(goal, Fault("none", 0, grain, log), file_of=start)
    finally:
        walker.machine.end()
    noted = (line.partition(" ") for line in log.read_text().splitlines())
    return [what for _, _, what in sorted(noted, key=lambda parts: int(parts[0]))]


def choose(way: Sequence[str]) -> list[int]:
    """The numbers of the steps that differ: the first where one sort follows another, for each two sorts, and the last of all.

    A fault after the fifth address of ten leaves what one after the first does, only more of it. That every single step can fail,
    and that an apply and a destroy then converge, is shown on the fake host (unit/plan/test_fake_host.py).
    """
    pairs = list(zip(way, (*way[1:], ""), strict=True))
    return sorted({pair: number for number, pair in reversed(list(enumerate(pairs, 1)))}.values())


def draw(way: Sequence[str]) -> list[int]:
    """The number of every second operation, from the first or from the second one by lot; with EVERY_KILL=1 of each."""
    first, stride = (1, 1) if os.environ.get("EVERY_KILL") else (random.choice((1, 2)), 2)
    return list(range(first, len(way) + 1, stride))


def try_all(folder: Path, trials: Sequence[Trial]) -> str:
    """What is wrong with those that fail; "" where all is well."""
    # Neighbors stay together: they are in such an order that a machine need not change between two states again and again.
    size = -(-len(trials) // MACHINES)
    shares = [trials[first : first + size] for first in range(0, size * MACHINES, size)]
    folders = [folder / str(number) for number in range(MACHINES)]
    for each in folders:
        each.mkdir()
    with ProcessPoolExecutor(MACHINES, mp_context=multiprocessing.get_context("fork")) as pool:
        return "\n".join(filter(None, pool.map(carry_out, folders, shares)))
