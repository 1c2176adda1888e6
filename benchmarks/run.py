"""Measures netctl beside two floors that do the same work by hand.

Run it as root:

    python benchmarks/run.py [N ...] [--repeat TIMES]       N is a number of containers; without any: 10 100 1000

Everything stands in namespaces of its own, named bench.*, which are removed at the end, also after a failure. The figures are
the best of the runs; compare the ratios, since times differ from machine to machine. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.floor_script import write_scripts  # noqa: E402  # the checkout has to be on the path first
from benchmarks.measure import BenchmarkError, Cost, best, read_busy_share, run_measured  # noqa: E402
from benchmarks.places import NETCTL, remove_all  # noqa: E402
from benchmarks.scenario import BRIDGE, HOST, TOPOLOGY, WIDE_RANGE, topology_text, wires  # noqa: E402

SETTLE_S = 2.0
EXTRA_PORT = "add element inet netctl-bench published4 { tcp . 19999 : 10.88.1.0 . 81 }"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was done, and what it cost each way; None where a floor has no like of it."""

    count: int
    work: str
    netctl: Cost
    script: Cost | None = None
    raw: Cost | None = None


def read_ruleset() -> str:
    """The tables that netctl has loaded into the host, as text that `nft -f` takes: the floors load the same program."""
    texts = []
    for family in ("inet", "bridge"):
        command = ["nsenter", f"--net=/run/netns/{HOST}", "nft", "list", "table", family, f"netctl-{TOPOLOGY}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        texts.append(done.stdout)
    return "".join(texts)


def read_shape(container: str) -> tuple[int, ...]:
    """How many links, neighbors and routes there are on the bridge and in one container: the same, whichever tool made them."""

    def count(namespace: str, *command: str) -> int:
        done = subprocess.run(["ip", "-n", namespace, "-o", *command], capture_output=True, text=True, check=True)
        return len(done.stdout.splitlines())

    inside = f"{TOPOLOGY}.{container}"
    return (
        count(HOST, "link", "show", "master", BRIDGE),
        count(HOST, "-4", "neigh", "show", "dev", BRIDGE, "nud", "permanent"),
        count(HOST, "-4", "route", "show", "dev", BRIDGE),
        count(inside, "-4", "addr", "show", "dev", "eth0"),
        count(inside, "-4", "route"),
        count(inside, "-4", "neigh", "show", "nud", "permanent"),
    )


def measure_count(count: int, repeat: int, folder: Path) -> list[Row]:
    """All lines of the table for `count` containers."""
    file = folder / "topology.yaml"
    more = folder / "more.yaml"
    file.write_text(topology_text(count))
    more.write_text(topology_text(count, extra=True))
    ruleset = ""
    shape: tuple[int, ...] = ()
    costs: dict[str, dict[str, list[Cost]]] = {}

    def note(work: str, way: str, command: Sequence[str], allowed: tuple[int, ...] = (0,)) -> None:
        costs.setdefault(work, {}).setdefault(way, []).append(run_measured(command, allowed))

    raw = [sys.executable, "-m", "benchmarks.floor_raw"]
    for _ in range(repeat):
        note("apply", "netctl", [NETCTL, "apply", str(file)])
        if not ruleset:
            ruleset, shape = read_ruleset(), read_shape("c0")
            time.sleep(SETTLE_S)
            busy = 100 * read_busy_share(2.0)
            print(f"  {count} containers: {busy:.1f} % of the CPU busy {SETTLE_S:.0f} s after apply", flush=True)
        note("diff, nothing to do", "netctl", [NETCTL, "diff", str(file)])
        note("one port more", "netctl", [NETCTL, "apply", str(more)])
        note("destroy", "netctl", [NETCTL, "destroy", str(more)])

        scripts = folder / "script"
        shutil.rmtree(scripts, ignore_errors=True)
        scripts.mkdir()
        write_scripts(scripts, wires(count), ruleset)
        note("apply", "script", ["sh", str(scripts / "apply.sh")])
        compare("ip -batch", shape)
        note("diff, nothing to do", "script", ["sh", str(scripts / "read.sh")])
        note("one port more", "script", ["nsenter", f"--net=/run/netns/{HOST}", "nft", EXTRA_PORT])
        note("destroy", "script", ["sh", str(scripts / "destroy.sh")])

        note("apply", "raw", [*raw, "apply", str(count), str(scripts / "ruleset.nft")])
        compare("raw netlink", shape)
        note("one port more", "raw", [*raw, "add-port", EXTRA_PORT])
        note("destroy", "raw", [*raw, "destroy", str(count)])
    return [
        Row(count, work, best(ways["netctl"]), *(best(ways[way]) if way in ways else None for way in ("script", "raw")))
        for work, ways in costs.items()
    ]


def compare(way: str, shape: tuple[int, ...]) -> None:
    """BenchmarkError where a floor did not make what netctl made: its figure would be worth nothing."""
    live = read_shape("c0")
    if live != shape:
        raise BenchmarkError(f"{way} made {live} (ports, neighbors, routes; addresses, routes, neighbors in c0), netctl {shape}")


def measure_wide(repeat: int, folder: Path) -> list[Row]:
    """One published port more beside ten thousand."""
    few, many = folder / "wide.yaml", folder / "wide-more.yaml"
    few.write_text(topology_text(2, wide=WIDE_RANGE))
    many.write_text(topology_text(2, wide=WIDE_RANGE, extra=True))
    first = run_measured([NETCTL, "apply", str(few)])
    costs = []
    for _ in range(repeat):
        costs.append(run_measured([NETCTL, "apply", str(many)]))
        run_measured([NETCTL, "apply", str(few)])
    gone = run_measured([NETCTL, "destroy", str(few)])
    return [
        Row(2, f"apply, {WIDE_RANGE:,} published ports", first),
        Row(2, f"one port beside {WIDE_RANGE:,}", best(costs)),
        Row(2, f"destroy, {WIDE_RANGE:,} ports", gone),
    ]


def measure_start(repeat: int) -> list[tuple[str, Cost]]:
    """What a user waits for before anything is done. The top-level file is applied once beforehand, and destroyed at the end."""
    file = str(ROOT / "topology.yaml")
    runs = max(repeat, 5)
    result = [
        ("netctl --help", best([run_measured([NETCTL, "--help"]) for _ in range(runs)])),
        ("netctl validate topology.yaml", best([run_measured([NETCTL, "validate", file]) for _ in range(runs)])),
    ]
    there_before = run_measured([NETCTL, "diff", file], (0, 1)).status == 0
    run_measured([NETCTL, "apply", file])
    no_ops = [run_measured([NETCTL, "apply", file]) for _ in range(runs)]
    result.append(("netctl apply topology.yaml, nothing to do", best(no_ops)))
    if not there_before:
        run_measured([NETCTL, "destroy", file])
    return result


def render_rows(rows: Sequence[Row]) -> str:
    """The table, as Markdown."""
    lines = [
        "| containers | what | netctl | each | CPU | memory | `ip -batch` | raw netlink | of `ip -batch` | of raw | its CPU |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        floors = [f"{cost.wall_s:.2f} s" if cost else "" for cost in (row.script, row.raw)]
        ratios = [f"{row.netctl.wall_s / cost.wall_s:.2f}" if cost else "" for cost in (row.script, row.raw)]
        own = row.netctl
        cpu_ratio = f"{own.cpu_s / row.raw.cpu_s:.2f}" if row.raw else ""
        cells = [
            f"{row.count:,}",
            row.work,
            f"{own.wall_s:.2f} s",
            f"{1000 * own.wall_s / row.count:.1f} ms",
            f"{own.cpu_s:.2f} s",
            f"{own.memory_mb:.0f} MB",
            *floors,
            *ratios,
            cpu_ratio,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description="Measures netctl beside two floors that do the same work by hand.")
    parser.add_argument("counts", nargs="*", type=int, metavar="N", help="numbers of containers (10 100 1000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the best is shown (3)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("benchmarks/run.py: error: it makes network namespaces, so it needs root", file=sys.stderr)
        return 3
    rows: list[Row] = []
    try:
        remove_all(TOPOLOGY)
        with tempfile.TemporaryDirectory(prefix="netctl-bench-") as name:
            for count in arguments.counts or [10, 100, 1000]:
                rows += measure_count(count, arguments.repeat, Path(name))
            rows += measure_wide(arguments.repeat, Path(name))
        starts = measure_start(arguments.repeat)
        print()
        print(render_rows(rows))
        print()
        print("\n".join(["| start-up | time |", "|---|---:|", *(f"| {what} | {1000 * c.wall_s:.0f} ms |" for what, c in starts)]))
    except BenchmarkError as error:
        print(f"benchmarks/run.py: error: {error}", file=sys.stderr)
        return 1
    finally:
        remove_all(TOPOLOGY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
