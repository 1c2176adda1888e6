"""An agent that runs in a machine of the test's own, and what it says of itself."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.agent import contest, cycle, loop, sources  # noqa: F401  so that no forked process has to import them
from reconciler.cli import main as cli
from tests.harness.machine import Machine, Running
from tests.harness.netctl import Outcome

READY_S = 20.0
"""On a machine that is busy with other tests."""


@dataclass(slots=True)
class RunningAgent:
    """One agent: `running` is its process."""

    machine: Machine
    running: Running
    topology: str
    host: str

    @classmethod
    def start(
        cls, machine: Machine, file: Path, *options: str, name: str = "here", host: str = "one", patient: bool = False
    ) -> RunningAgent:
        """Start it, by a fork of this process. With `patient`, it never takes a thing for contested."""

        def body() -> int:
            os.environ["NO_COLOR"] = "1"
            if patient:
                contest.REPAIRS_MAX = 10**9
            return cli.main(["agent", str(file), *options])

        return cls(machine, machine.start(body), name, host)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return os.pread(self.running.err.fileno(), 1 << 24, 0).decode()

    @property
    def state(self) -> dict[str, Any]:
        """Its state file; empty if there is none, or it is being written."""
        path = Path(f"/proc/{self.machine.first}/root/run/netctl/.agent/{self.topology}.{self.host}.lock")
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return found

    def wait_for(self, what: Callable[[RunningAgent], object], timeout_s: float = READY_S) -> float:
        """Return when it is so: after how many seconds. Fails after `timeout_s`."""
        begun_s = time.monotonic()
        while not what(self):
            assert time.monotonic() - begun_s < timeout_s, f"not within {timeout_s} s: {self.state}\n{self.said[-3000:]}"
            assert Path(f"/proc/{self.running.pid}").exists(), f"the agent has ended:\n{self.said[-3000:]}"
            time.sleep(0.01)
        return time.monotonic() - begun_s

    def wait_ready(self) -> RunningAgent:
        """Return when it is in step for the first time."""
        self.wait_for(lambda agent: "\nready\n" in f"\n{agent.said}")
        return self

    def wait_repaired(self, before: int, timeout_s: float = READY_S) -> float:
        """Return when it has repaired more than `before` things, and is in step again."""
        return self.wait_for(lambda agent: agent.state.get("repairs", 0) > before and agent.state["in_step"], timeout_s)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[Outcome, float]:
        """End it; how it ended, and how long that took."""
        begun_s = time.monotonic()
        self.running.kill(number)
        outcome = self.running.wait()
        return outcome, time.monotonic() - begun_s
