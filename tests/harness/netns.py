"""A network namespace, and commands in it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.names import NETNS_ROOT


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace that a test made under /run/netns."""

    name: str

    @property
    def path(self) -> Path:
        return NETNS_ROOT / self.name

    def run(
        self, *command: str, check: bool = True, text: str | None = None, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; with `check`, a failure fails the test and shows what the command said."""
        entered = ["nsenter", f"--net={self.path}", *command]
        done = subprocess.run(entered, capture_output=True, text=True, input=text, timeout=timeout_s, check=False)
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} in {self.name} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in it that goes on; it is killed when the namespace is removed."""
        entered = ["nsenter", f"--net={self.path}", *command]
        return subprocess.Popen(entered, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
