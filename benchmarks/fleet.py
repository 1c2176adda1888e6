"""Measures netctl on ten lab hosts with one subnet over all of them, by VXLAN.

Run it as root:

    python benchmarks/fleet.py [N] [--hosts COUNT] [--overlay vxlan|routes] [--repeat TIMES]

N is the number of containers in all, 1000 without it.

Everything stands in namespaces of its own, named bench-fleet.*, which are removed at the end, also after a failure. All the hosts
share this machine's cores, so what ten machines do side by side is partly done one after the other here. Compare ratios.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import BenchmarkError, Cost, best, run_measured  # noqa: E402  # the checkout has to be on the path first
from benchmarks.places import NETCTL, read_output, remove_all  # noqa: E402

TOPOLOGY = "bench-fleet"
SUBNET = "front"
FIRST_ADDRESS = IPv4Address("10.88.4.0")
"""Below it are the addresses of the hosts."""
MOVED_ADDRESS = IPv4Address("10.88.200.1")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is measured: so many containers, the same number on each host or one more."""

    containers: int
    hosts: int
    overlay: str

    def host_names(self) -> list[str]:
        """Of all hosts, in the order of the file."""
        return [f"h{number}" for number in range(self.hosts)]

    def text(self, *, changed: bool = False, extra: bool = False) -> str:
        """The topology file. `changed` gives c0 another address; `extra` has one container more."""
        lines = ["version: 1", f"name: {TOPOLOGY}", "hosts:"]
        lines += [f"  {name}: {{connect: lab, address: 192.0.2.{11 + n}}}" for n, name in enumerate(self.host_names())]
        lines += ["subnets:", f"  {SUBNET}: {{cidr: 10.88.0.0/16, overlay: {self.overlay}}}", "containers:"]
        for number in range(self.containers + extra):
            address = MOVED_ADDRESS if changed and number == 0 else FIRST_ADDRESS + number
            lines.append(f"  c{number}: {{host: h{number % self.hosts}, networks: {{{SUBNET}: {address}}}}}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Entries:
    """What one host's kernel holds for the subnet, its own containers' entries included."""

    host: str
    forwarding: int
    neighbors: int
    routes: int


def read_entries(host: str) -> Entries:
    """Count what a lab host has, with the system's own tools."""
    netns = f"{TOPOLOGY}.lab.{host}"

    def count(*command: str) -> int:
        return len(read_output(command).splitlines())

    answered = count("ip", "-n", netns, "neigh", "show", "proxy")
    return Entries(
        host,
        forwarding=count("bridge", "-n", netns, "fdb", "show"),
        neighbors=answered + count("ip", "-n", netns, "neigh", "show", "nud", "permanent"),
        routes=count("ip", "-n", netns, "-4", "route", "show", "table", "main"),
    )


def read_changes(cost: Cost) -> int:
    """How many changes a plan has, out of its last line."""
    found = re.search(r"^Plan: .*\(([\d,]+) changes?\)$", cost.output, re.MULTILINE)
    if not found:
        raise BenchmarkError(f"no plan in:\n{cost.output[-2000:]}")
    return int(found[1].replace(",", ""))


@dataclass(slots=True)
class Result:
    """All figures of a run."""

    lines: list[tuple[str, Cost, int | None]]
    """What was done, what it cost, how many changes its plan had."""
    all_hosts: Cost
    single_hosts: list[Cost]
    """With --host. netctl reads the other hosts then too, for the addresses that live there, and plans the one."""
    lone_host: Cost
    """A topology of one host, with as many containers as a host has here, and no other host to know of."""
    start_up: Cost
    entries: list[Entries]


def measure(fleet: Fleet, repeat: int, folder: Path) -> Result:
    """Apply, look, change, look, change back, destroy."""
    file, changed, extra = folder / "fleet.yaml", folder / "changed.yaml", folder / "extra.yaml"
    file.write_text(fleet.text())
    changed.write_text(fleet.text(changed=True))
    extra.write_text(fleet.text(extra=True))
    lines: list[tuple[str, Cost, int | None]] = []

    def apply(what: str, path: Path) -> None:
        cost = run_measured([NETCTL, "apply", str(path)])
        lines.append((what, cost, read_changes(cost)))
        print(f"  {what}: {cost.wall_s:.1f} s", flush=True)

    start_up = best([run_measured([NETCTL, "--help"]) for _ in range(3)])
    apply("apply", file)
    diffs = [run_measured([NETCTL, "diff", str(file)]) for _ in range(repeat)]
    singles = [
        best([run_measured([NETCTL, "diff", "--host", host, str(file)]) for _ in range(repeat)]) for host in fleet.host_names()
    ]
    # Once more at the end, so that whatever slows the machine meanwhile does not fall on one side only.
    diffs += [run_measured([NETCTL, "diff", str(file)]) for _ in range(repeat)]
    lines.append(("diff, nothing to do", best(diffs), None))
    entries = [read_entries(host) for host in fleet.host_names()]
    apply("one container's address changed", changed)
    run_measured([NETCTL, "apply", str(file)])
    apply("one container more", extra)
    gone = run_measured([NETCTL, "destroy", str(extra)])
    lines.append(("destroy", gone, read_changes(gone)))
    file.write_text(Fleet(max(1, fleet.containers // fleet.hosts), 1, fleet.overlay).text())
    run_measured([NETCTL, "apply", str(file)])
    lone = best([run_measured([NETCTL, "diff", str(file)]) for _ in range(2 * repeat)])
    return Result(lines, best(diffs), singles, lone, start_up, entries)


def render(fleet: Fleet, result: Result) -> str:
    """The tables, as Markdown."""
    lines = [
        f"{fleet.containers:,} containers on {fleet.hosts} hosts, overlay {fleet.overlay}",
        "",
        "| what | time | CPU | memory | changes |",
        "|---|---:|---:|---:|---:|",
    ]
    for what, cost, changes in result.lines:
        shown = "" if changes is None else f"{changes:,}"
        lines.append(f"| {what} | {cost.wall_s:.2f} s | {cost.cpu_s:.2f} s | {cost.memory_mb:.0f} MB | {shown} |")
    whole, start_up = result.all_hosts, result.start_up
    slowest = max(result.single_hosts, key=lambda cost: cost.wall_s)
    lines += [
        "",
        f"On {os.cpu_count()} cores; start-up (--help) {start_up.wall_s:.2f} s",
        "",
        "| diff, nothing to do | time | CPU | of it, all hosts are | the same less start-up | CPU |",
        "|---|---:|---:|---:|---:|---:|",
        f"| all {fleet.hosts} hosts | {whole.wall_s:.2f} s | {whole.cpu_s:.2f} s | | | |",
    ]
    for what, cost in (("the slowest by `--host`", slowest), ("a host of the size, alone", result.lone_host)):
        times = f"{whole.wall_s / cost.wall_s:.2f} | {(whole.wall_s - start_up.wall_s) / cost.wall_s:.2f}"
        lines.append(f"| {what} | {cost.wall_s:.2f} s | {cost.cpu_s:.2f} s | {times} | {whole.cpu_s / cost.cpu_s:.2f} |")
    cores = os.cpu_count() or 1
    bound_s = result.lone_host.wall_s * fleet.hosts / min(cores, fleet.hosts)
    told = f"{bound_s:.2f} s; all hosts took {whole.wall_s / bound_s:.2f} of that"
    lines += ["", f"{fleet.hosts} hosts alone, {cores} at a time: {told}"]
    lines += ["", "| entries per host | least | most |", "|---|---:|---:|"]
    for field in ("forwarding", "neighbors", "routes"):
        counts = [getattr(entries, field) for entries in result.entries]
        lines.append(f"| {field} | {min(counts):,} | {max(counts):,} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description="Measures netctl on several lab hosts with one subnet over all of them.")
    parser.add_argument("count", nargs="?", type=int, default=1000, metavar="N", help="containers in all (1000)")
    parser.add_argument("--hosts", type=int, default=10, help="lab hosts (10)")
    parser.add_argument("--overlay", choices=("vxlan", "routes"), default="vxlan")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each diff, of which the best is shown (2)")
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("benchmarks/fleet.py: error: it makes network namespaces, so it needs root", file=sys.stderr)
        return 3
    fleet = Fleet(chosen.count, chosen.hosts, chosen.overlay)
    try:
        remove_all(TOPOLOGY)
        with tempfile.TemporaryDirectory(prefix="netctl-bench-") as name:
            result = measure(fleet, chosen.repeat, Path(name))
        print()
        print(render(fleet, result))
    except BenchmarkError as error:
        print(f"benchmarks/fleet.py: error: {error}", file=sys.stderr)
        return 1
    finally:
        remove_all(TOPOLOGY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
