"""Runs a command and reports its cost: time on the clock, CPU time, and the memory of all its processes at their peak."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.1
"""Between two looks at the memory of the processes; a look costs about a millisecond."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command cost. `memory_mb` is the peak of what its processes had together; a page that several share counts once."""

    wall_s: float
    cpu_s: float
    memory_mb: float
    status: int
    output: str


class BenchmarkError(Exception):
    """A command that is measured failed; nothing that was measured with it counts."""


def run_measured(command: Sequence[str], allowed: tuple[int, ...] = (0,)) -> Cost:
    """Run it to its end; BenchmarkError with its own words where its exit status is not one of `allowed`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    sums_kb = [0]
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, sums_kb, ended))
    sampler.start()
    output, _ = process.communicate()
    wall_s = time.perf_counter() - start
    ended.set()
    sampler.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in allowed:
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}:\n{output[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s, max(sums_kb) / 1024, process.returncode, output)


def _environment() -> dict[str, str]:
    """Ours, but Python keeps what it has compiled, as it does by default: else each command compiles a hundred files again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def best(costs: Sequence[Cost]) -> Cost:
    """The least of each figure, for whatever else a machine does can only add to one; but the worst memory of all runs."""
    quickest = min(costs, key=lambda cost: cost.wall_s)
    memory_mb = max(cost.memory_mb for cost in costs)
    return Cost(quickest.wall_s, min(c.cpu_s for c in costs), memory_mb, quickest.status, quickest.output)


def read_busy_share(seconds: float) -> float:
    """The share of all cores that is busy during so many seconds, 0 to 1 (proc_stat(5)); everything on the machine counts."""
    first = _read_cpu_ticks()
    time.sleep(seconds)
    second = _read_cpu_ticks()
    total, idle = second[0] - first[0], second[1] - first[1]
    return 1 - idle / total


def _read_cpu_ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _sample(root: int, sums_kb: list[int], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_S):
        sums_kb.append(sum(_read_memory_kb(pid) for pid in _read_tree(root)))


def _read_tree(root: int) -> list[int]:
    tree = [root]
    for pid in tree:  # grows while it is walked
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                tree += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:
            continue  # it ended in between
    return tree


def _read_memory_kb(pid: int) -> int:
    """Its proportional set size (proc_pid_smaps(5))."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
