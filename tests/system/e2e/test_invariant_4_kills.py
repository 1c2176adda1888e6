"""Invariant 4: killed at any step, the next apply converges and the next destroy leaves nothing.

Each trial kills controller and workers on the way from one state to another, and lets an apply or a destroy clear up. The state
afterwards is that of a machine on which no process was killed.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.harness.faults.strike import Fault
from tests.harness.faults.walker import EMPTY, Trial, choose, draw, read_way, try_all
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LAB, edit, write

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.invariant(4)]

EITHER = "either"
"""An apply after every second kill, a destroy after the others."""
WAYS = [
    (EMPTY, "local", EITHER, "step"),
    (EMPTY, "local", EMPTY, "operation"),
    ("local", EMPTY, EITHER, "step"),
    ("local", EMPTY, EMPTY, "operation"),
    (EMPTY, "lab", EITHER, "step"),
    ("lab", EMPTY, EITHER, "step"),
]


def plan_trials(folder: Path, start: str, goal: str, then: str, grain: str) -> Iterator[Trial]:
    way = read_way(folder, start, goal, grain)
    for turn, at in enumerate(choose(way) if grain == "step" else draw(way), 1):
        after = (EMPTY if turn % 2 else goal or start) if then == EITHER else then
        yield Trial(start, goal, after, Fault("kill", at, grain))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(word or "empty" for word in way))
def test_invariant_4_killed_at_every_step(way: tuple[str, str, str, str], tmp_path: Path) -> None:
    """SIGKILL after each sort of step (or, within steps, after every second operation), and the next command gets there."""
    trials = sorted(plan_trials(tmp_path, *way), key=lambda trial: trial.then or EMPTY)
    assert len(trials) > 5
    wrong = try_all(tmp_path, trials)
    assert not wrong, wrong


def test_invariant_4_killed_at_every_step_of_a_change(tmp_path: Path) -> None:
    """The same on the way from one topology to another and back, which takes every kind of step; some are destroyed instead."""
    there = list(plan_trials(tmp_path, "local", "changed", "changed", "step"))
    back = list(plan_trials(tmp_path, "changed", "local", "local", "step"))
    # Back and forth: where one trial ends, the next begins.
    trials = [trial for pair in zip_longest(there, back) for trial in pair if trial]
    trials += [replace(trial, then=EMPTY) for trial in there[::4]]
    wrong = try_all(tmp_path, trials)
    assert not wrong, wrong


def test_invariant_4_killed_at_any_moment(machine: Machine) -> None:
    """SIGKILL of the real thing at moments drawn by lot: of the controller, or of a worker, in an apply, a change, a destroy."""
    file = write(machine, LAB)
    before = read_live(machine)
    assert machine.netctl("apply", file).status == 0
    wanted = read_live(machine)
    edit(file, ("replicas: 3", "replicas: 1"), ("8080:80", "8081:80"))
    assert machine.netctl("apply", file).status == 0
    for turn in range(6):
        running = machine.start_netctl("destroy" if turn % 3 == 2 else "apply", file)
        time.sleep(random.uniform(0.2, 0.8))
        running.kill(signal.SIGKILL)
        running.wait()
        file.write_text(LAB)
        done = machine.netctl("apply", file)
        assert done.status == 0, done.err
        assert differences(wanted, read_live(machine)) == ""
        edit(file, ("replicas: 3", "replicas: 1"), ("8080:80", "8081:80"))
    running = machine.start_netctl("apply", file)
    time.sleep(0.5)
    running.kill(signal.SIGKILL)
    running.wait()
    assert machine.netctl("destroy", file).status == 0
    assert differences(before, read_live(machine)) == ""
