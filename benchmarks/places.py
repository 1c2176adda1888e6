"""Where benchmarks take place: topologies and namespaces of their own, known by the first part of their names, and their end.

Used by run.py, fleet.py, throughput.py and runtimes.py.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import ROOT, BenchmarkError

NETCTL = str(Path(sys.executable).parent / "netctl")
MNT_DETACH = 2  # umount2(2)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000  # linux/sched.h
MACHINE = """
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    ip link set lo up
    ip link add up0 type veth peer name up1
    ip address add 192.0.2.2/24 dev up0
    ip link set up0 up
    ip link set up1 up
    ip route add default via 192.0.2.1
"""


def remove_all(name: str) -> None:
    """Destroy the topology, and remove whatever namespaces of its name are left, also where netctl failed."""
    if Path(NETCTL).exists():
        subprocess.run([NETCTL, "destroy", "--name", name], cwd=ROOT, capture_output=True, check=False)
    libc = ctypes.CDLL(None)
    for path in Path("/run/netns").glob(f"{name}.*"):
        libc.umount2(os.fsencode(path), MNT_DETACH)
        path.unlink(missing_ok=True)


def enter_machine() -> None:
    """Continue as on a machine of its own: in a new network and mount namespace, with an empty /run and an uplink."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise BenchmarkError(f"cannot leave the machine's namespaces: {os.strerror(ctypes.get_errno())}")
    run_script(MACHINE)


def path_of(netns: str) -> str:
    """Of a namespace that is given by its name in /run/netns, or by its path."""
    return netns if netns.startswith("/") else f"/run/netns/{netns}"


def inside(netns: str) -> list[str]:
    """The words that make a command run in a namespace, which is given as to `path_of`."""
    return ["nsenter", f"--net={path_of(netns)}"]


def read_output(command: Sequence[str]) -> str:
    """What a command prints; BenchmarkError with its own words where it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done.stdout


def run_script(script: str) -> None:
    """Run lines of shell, and stop at the first that fails."""
    done = subprocess.run(["sh", "-eu", "-s"], input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"a script ended with {done.returncode}:\n{done.stderr}")
