"""The program of a holder, run: natively, and under an emulator for the other architecture."""

from __future__ import annotations

import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.state.engines.pause import ARCHITECTURES, Architecture
from tests.harness.capabilities import require_capability

DEADLINE_S = 10.0
NAPS = 20


@pytest.fixture(params=ARCHITECTURES.values(), ids=lambda each: each.machine)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It runs, and waits."""
    architecture: Architecture = request.param
    path = tmp_path / "pause"
    path.write_bytes(architecture.program)
    path.chmod(0o755)
    command = [str(path)]
    if architecture.machine != platform.machine():
        if architecture.machine != "aarch64":
            pytest.skip("only the emulator of aarch64 is used")
        require_capability("qemu-user")
        command = ["qemu-aarch64", *command]
    process = subprocess.Popen(command)
    try:
        _wait_until_asleep(process.pid)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until_asleep(pid: int) -> None:
    """The kernel does not show a signal as blocked while a call waits for it. An emulator sleeps only when the program does."""
    deadline_s, naps = time.monotonic() + DEADLINE_S, 0
    while naps < NAPS:
        assert time.monotonic() < deadline_s
        naps = naps + 1 if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "S" else 0
        time.sleep(0.02)


def test_it_waits_for_sigterm(program: subprocess.Popen[bytes]) -> None:
    """It stays through a stop and a continuation, and ends at SIGTERM with status 0."""
    for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD):
        program.send_signal(number)
        time.sleep(0.1)
        assert program.poll() is None
    program.terminate()
    assert program.wait(DEADLINE_S) == 0
