"""Programs that print events: their output is a hint, their end is an end, and none outlives the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.kernel.events.monitors import MonitorEvents
from reconciler.kernel.events.source import Cause, SourceEndedError

OWN = "/proc/self/ns/net"
WAIT_S = 10.0
ORPHAN = """
import os, signal
from reconciler.kernel.events.monitors import MonitorEvents
from reconciler.kernel.events.source import Cause
source = MonitorEvents(("sh", "-c", "echo $$; exec sleep 98765"), "/proc/self/ns/net", Cause.ENGINE)
os.set_blocking(source.fileno(), True)
print(os.read(source.fileno(), 100).decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_for_hint(source: MonitorEvents) -> None:
    """Return at the first."""
    deadline = time.monotonic() + WAIT_S
    while not source.drain():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_there(pid: str) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid: str) -> None:
    """Return when it has ended."""
    deadline = time.monotonic() + WAIT_S
    while is_there(pid):
        assert time.monotonic() < deadline, pid
        time.sleep(0.01)


@pytest.mark.kernel
def test_what_it_prints_is_a_hint_and_its_end_an_end(tmp_path: Path) -> None:
    """Also what it prints on standard error; then `drain` says that there is no more."""
    go = tmp_path / "go"
    os.mkfifo(go)
    source = MonitorEvents(("sh", "-c", f"echo event >&2; cat {go}"), OWN, Cause.ENGINE)
    wait_for_hint(source)
    assert not source.drain()
    go.write_text("")
    with pytest.raises(SourceEndedError):
        wait_for_hint(source)
    source.close()


@pytest.mark.kernel
def test_close_ends_it(tmp_path: Path) -> None:
    """The program is gone afterwards, whatever it does."""
    note = tmp_path / "pid"
    source = MonitorEvents(("sh", "-c", f"trap '' TERM HUP INT; echo $$ > {note}; echo; exec sleep 98765"), OWN, Cause.ENGINE)
    wait_for_hint(source)
    source.close()
    wait_gone(note.read_text().strip())


@pytest.mark.kernel
def test_it_ends_with_a_process_that_is_killed() -> None:
    """SIGKILL of its owner leaves no program."""
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == -9
    wait_gone(done.stdout.strip())
