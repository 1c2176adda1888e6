"""Measures what a container costs in each runtime: to make and wire it, and to wire one network more.

Run it as root; runtimes that are not installed are left out, and the engines are started in places of their own:

    python benchmarks/runtimes.py [RUNTIME ...] [--count N] [--repeat TIMES]     netns docker podman lxc

`one network more` is netctl's work alone: the containers run already, and each gets a cable, an address and entries of
the firewall. The time of a run with nothing to do is subtracted, so few containers on a busy machine give noise.
`by the engine alone` makes and starts the same containers by the engine's own command, one after the other, without any network.
Everything is removed at the end, also after a failure. Times differ from machine to machine: compare the lines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import BenchmarkError, run_measured  # noqa: E402  # the checkout has to be on the path first
from benchmarks.places import NETCTL, read_output, remove_all  # noqa: E402
from tests.harness.engines import RUNNING, Engine  # noqa: E402

TOPOLOGY = "bench-run"
COMMANDS = {"netns": "ip", "docker": "dockerd", "podman": "podman", "lxc": "lxc-start"}
"""What has to be installed for each runtime."""
STAYS = "trap 'exit 0' TERM; sleep 1000 & wait"


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds for all containers of one runtime together, the best of the runs."""

    runtime: str
    count: int
    made_s: float
    more_s: float
    nothing_s: float
    destroyed_s: float
    alone_s: float


def topology_text(runtime: str, count: int, engine: Engine | None, *, more: bool) -> str:
    """The topology file. With `more`, each container is in a second subnet."""
    where = f', {runtime}: "{engine.url}"' if engine else ""
    made_of = f'image: "{engine.image}", command: [sh, -c, "{STAYS}"], ' if engine else ""
    networks = "{front: auto, back: auto}" if more else "{front: auto}"
    return "\n".join(
        [
            "version: 1",
            f"name: {TOPOLOGY}",
            f"hosts: {{alpha: {{connect: lab, address: 192.0.2.11{where}}}}}",
            "subnets: {front: {cidr: 10.87.0.0/20}, back: {cidr: 10.88.0.0/20, mode: isolated}}",
            "containers:",
            *(f"  c{n}: {{runtime: {runtime}, {made_of}networks: {networks}}}" for n in range(count)),
            "",
        ]
    )


def measure_runtime(runtime: str, count: int, repeat: int) -> Row:
    """One line of the table, with an engine started for it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netctl-bench-")))
        engine = stack.enter_context(RUNNING[runtime]()) if runtime in RUNNING else None
        stack.callback(remove_all, TOPOLOGY)  # while its engine still runs
        few, more = folder / "few.yaml", folder / "more.yaml"
        few.write_text(topology_text(runtime, count, engine, more=False))
        more.write_text(topology_text(runtime, count, engine, more=True))
        times: list[tuple[float, ...]] = []
        for _ in range(repeat):
            lines = (["apply", str(few)], ["apply", str(more)], ["apply", str(more)], ["destroy", str(more)])
            times.append(tuple(run_measured([NETCTL, *line]).wall_s for line in lines))
        made, wired, nothing, destroyed = (min(each) for each in zip(*times, strict=True))
        return Row(runtime, count, made, wired, nothing, destroyed, measure_alone(engine, count))


def measure_alone(engine: Engine | None, count: int) -> float:
    """Seconds that the engine takes to make and start as many containers; its end removes them."""
    start = time.perf_counter()
    for number in range(count):
        if engine:
            engine.run(f"alone{number}")
        else:
            read_output(["ip", "netns", "add", f"{TOPOLOGY}.alone{number}"])
    return time.perf_counter() - start


def render(rows: Sequence[Row]) -> str:
    """The table, as Markdown: milliseconds per container."""
    lines = [
        "| runtime | containers | made and wired | by the engine alone | one network more | destroyed | nothing to do (all) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        more_s = row.more_s - row.nothing_s
        each = [f"{1000 * seconds / row.count:.0f} ms" for seconds in (row.made_s, row.alone_s, more_s, row.destroyed_s)]
        lines.append(f"| {row.runtime} | {row.count} | {' | '.join(each)} | {1000 * row.nothing_s:.0f} ms |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description="Measures what a container costs in each runtime.")
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help="netns, docker, podman, lxc (all that are installed)")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="containers of each (10)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each, of which the best is shown (2)")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.runtimes) - set(COMMANDS):
        parser.error(f"there is no runtime {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("benchmarks/runtimes.py: error: it makes network namespaces, so it needs root", file=sys.stderr)
        return 3
    rows = []
    try:
        remove_all(TOPOLOGY)
        for runtime in chosen.runtimes or COMMANDS:
            if not shutil.which(COMMANDS[runtime]):
                print(f"  {COMMANDS[runtime]} is not installed: {runtime} is left out")
                continue
            rows.append(measure_runtime(runtime, chosen.count, chosen.repeat))
            print(f"  {runtime}: done", flush=True)
        print("\n" + render(rows))
    except (BenchmarkError, AssertionError) as error:  # the harnesses of the tests raise the latter
        print(f"benchmarks/runtimes.py: error: {error}", file=sys.stderr)
        return 1
    finally:
        remove_all(TOPOLOGY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
