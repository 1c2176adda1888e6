"""netctl as a user runs it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.spawn import spawn

UNSTARTABLE = f"[sleep, '{'9' * 140_000}']"
"""A `command` that only an apply finds to fail: an argument is longer than any program takes (MAX_ARG_STRLEN, execve(2))."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a netctl ended, and what it said."""

    status: int
    out: str
    err: str


DEFECTS = ("Traceback (most recent call last)", "defect in netctl", "has a defect, found")


def run_netctl(*arguments: str | Path, timeout_s: float = 120, env: dict[str, str] | None = None) -> Outcome:
    """Run the command as a process of its own, its output in pipes; a defect that it meets fails the test, whatever its claim.

    With variables of its own it is started as a program, for Python reads some of them at its start.
    """
    if env or os.environ.get("EXEC"):
        return exec_netctl(*arguments, timeout_s=timeout_s, env=env)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        streams = (nothing.fileno(), out_end, err_end)
        try:
            netctl = spawn([*map(str, arguments)], {**os.environ, "NO_COLOR": "1"}, streams)
        finally:
            os.close(out_end)
            os.close(err_end)
    shown = _read_all((out, err), timeout_s)
    status = os.waitstatus_to_exitcode(netctl.wait(timeout_s))
    return _checked(arguments, Outcome(status, *(each.decode() for each in shown)))


def exec_netctl(*arguments: str | Path, timeout_s: float = 120, env: dict[str, str] | None = None, stdin: str = "") -> Outcome:
    """The same as a program that a shell would start, for claims about its start, its variables, or two of them side by side."""
    command = [sys.executable, "-m", "reconciler", *map(str, arguments)]
    variables = {**os.environ, "NO_COLOR": "1", **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=variables, input=stdin, check=False)
    return _checked(arguments, Outcome(done.returncode, done.stdout, done.stderr))


def _checked(arguments: tuple[str | Path, ...], outcome: Outcome) -> Outcome:
    if any(words in outcome.out + outcome.err for words in DEFECTS):
        pytest.fail(f"netctl {' '.join(map(str, arguments))} met a defect:\n{outcome.err}{outcome.out}")
    return outcome


def _read_all(pipes: tuple[int, int], timeout_s: float) -> list[bytes]:
    """What comes out of the pipes until no process has their other ends; one that netctl leaves behind must not have them."""
    shown: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0, deadline - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired("netctl", timeout_s)
            for key, _ in ready:
                if block := os.read(key.fd, 65536):
                    shown[key.fd].append(block)
                else:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [b"".join(blocks) for blocks in shown.values()]
