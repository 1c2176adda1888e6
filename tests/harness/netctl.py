"""netctl as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

UNSTARTABLE = f"[sleep, '{'9' * 140_000}']"
"""A `command` that only an apply finds to fail: an argument is longer than any program takes (MAX_ARG_STRLEN, execve(2))."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a netctl ended, and what it said."""

    status: int
    out: str
    err: str


def run_netctl(*arguments: str | Path, timeout_s: float = 120, env: dict[str, str] | None = None) -> Outcome:
    """Run the command as a process of its own, its output in pipes; a defect that it meets fails the test, whatever its claim."""
    command = [sys.executable, "-m", "reconciler", *map(str, arguments)]
    variables = {**os.environ, "NO_COLOR": "1", **(env or {})}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=variables, stdin=subprocess.DEVNULL, check=False
    )
    if any(words in done.stdout + done.stderr for words in ("Traceback (most recent call last)", "a defect of its own")):
        pytest.fail(f"{' '.join(command)} met a defect:\n{done.stderr}{done.stdout}")
    return Outcome(done.returncode, done.stdout, done.stderr)
