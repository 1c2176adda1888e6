"""A wall clock that jumps by years: every wait of netctl's is by the monotonic clock, so nothing ends early or hangs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli import main as cli
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = pytest.mark.kernel
YEARS_S = 20 * 365 * 86400
RIGHT = time.time


def jump() -> None:
    """Make this process's wall clock, and so its workers', jump by up to twenty years at each look."""
    choose = random.Random(1)
    time.time = lambda: RIGHT() + choose.uniform(-YEARS_S, YEARS_S)
    time.time_ns = lambda: int(time.time() * 1e9)


def run_jumping(*arguments: str | Path) -> Callable[[], int]:
    def body() -> int:
        jump()
        os.environ["NO_COLOR"] = "1"
        return cli.main([*map(str, arguments)])

    return body


def test_a_clock_that_jumps(furnished: Machine) -> None:
    """Each command does what it does otherwise, in the same time."""
    file = write(furnished, LOCAL)
    empty = read_live(furnished)
    for command in ("apply", "diff", "status", "destroy"):
        begun = time.monotonic()
        done = furnished.start(run_jumping(command, file)).wait()
        assert (done.status, done.err.startswith("error")) == (0, False), done.err
        assert time.monotonic() - begun < 20
    assert differences(empty, read_live(furnished)) == ""
