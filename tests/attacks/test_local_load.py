"""What a local user without rights can make slow, or hold up: locks that outlive their taker, and environments of megabytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.attacks.test_local_user import TOPOLOGY, lives, path, start_as_user, wait_for
from tests.e2e.conftest import machine
from tests.e2e.machine import Machine
from tests.e2e.worlds import write

__all__ = ["machine", "path"]
pytestmark = pytest.mark.kernel

HEAVY = """\
import ctypes, os, resource, sys, time
if len(sys.argv) == 1:
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 26, 1 << 26))
    os.execve(sys.executable, [sys.executable, sys.argv[0], "again"], {f"V{n}": "x" * 120_000 for n in range(45)})
words = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(words[47]), int(words[48])  # env_start and env_end, the 50th and 51st of proc(5)
ctypes.memset(start, 0, end - start)
ctypes.memmove(start, b"NETCTL_PROCESS=here/web", 23)
for _ in range(3):
    os.fork()
open(f"{sys.argv[0]}.{os.getpid()}", "w").close()
time.sleep(1000)
"""
"""Eight processes, each with the mark and five millions of empty variables."""


@pytest.mark.parametrize("target", ["/run/netctl/local/lock", "/run/netns"])
def test_a_lock_whose_taker_has_ended_holds_up_nothing(machine: Machine, path: Path, target: str) -> None:
    """flock(1) takes the lock and ends, the shell has the descriptor: /proc/locks does not show such a lock at all."""
    machine.sh("cd /run/netctl; mkdir -p local; : >local/lock; chmod 755 . local; chmod 644 local/lock")
    holder = start_as_user(machine, "sh", "-c", "exec 9<$0; flock 9; exec sleep infinity", target)
    wait_for(lambda: machine.run("flock", "-n", target, "true", check=False).status == 1)
    write(machine, TOPOLOGY + "  more: {networks: {front: 10.44.0.30}}\n")
    begun = time.monotonic()
    for command in ("apply", "destroy"):
        done = machine.netctl(command, path)
        assert done.status == 0, done.err
    assert time.monotonic() - begun < 5
    assert lives(holder)


def test_environments_full_of_nothing_cost_little(machine: Machine, path: Path) -> None:
    """Eight processes in a container with megabytes of empty variables, and its mark, cost a `diff` less than two seconds."""
    folder = machine.folder / "heavy"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    for parent in (machine.folder, machine.folder.parent, machine.folder.parent.parent):
        parent.chmod(0o755)
    script = folder / "heavy.py"
    script.write_text(HEAVY)
    begun = time.monotonic()
    assert machine.netctl("diff", path).status == 0
    usual_s = time.monotonic() - begun
    machine.start_command(
        "setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "/usr/bin/python3", str(script), netns="here.web"
    )
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 9:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begun = time.monotonic()
    assert machine.netctl("diff", path).status == 0
    assert time.monotonic() - begun < usual_s + 2
