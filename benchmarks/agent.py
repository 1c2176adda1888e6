"""Measures `netctl agent` beside a plain `netctl apply`: repairs, its idle cost, and what commands cost beside it.

Run it as root:

    python benchmarks/agent.py [N] [--local] [--idle SECONDS]         N is a number of containers; without it: 200

The host is a lab host, in namespaces named bench.*, which are removed at the end, also after a failure. With `--local` it is
the host itself, in a network and mount namespace of the benchmark's own: the usual case, with one worker. Nothing else should run
on the machine. Contested things are left alone by design, so each thing is damaged once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import BenchmarkError, Cost, run_measured  # noqa: E402  # the checkout has to be on the path first
from benchmarks.places import NETCTL, enter_machine, remove_all  # noqa: E402
from benchmarks.scenario import BRIDGE, HOST, TOPOLOGY, topology_text, wires  # noqa: E402

STATE = Path(f"/run/netctl/.agent/{TOPOLOGY}.alpha.lock")
WAIT_S = 60.0
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")
NOISE = "ip {host} address add 198.51.100.{n}/32 dev lo; ip {host} address delete 198.51.100.{n}/32 dev lo"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is broken, and the command that breaks it."""

    what: str
    command: str


def find_damages(count: int, *, is_local: bool) -> list[Damage]:
    """One of each kind of drift; the containers at the end of the list are those that are damaged."""
    last = wires(count)[-8:]
    inside, port = f"ip -n {last[0].netns}", last[1].port_name
    enter = "" if is_local else f"nsenter --net=/run/netns/{HOST} "
    host, nft, sysctl = f"{enter}ip", f"{enter}nft", f"{enter}sysctl -qw"
    return [
        Damage("an address in a container", f"{inside} address flush dev eth0"),
        Damage("a default route", f"ip -n {last[2].netns} route delete default"),
        Damage("a neighbor in a container", f"ip -n {last[3].netns} neighbor flush dev eth0 nud permanent"),
        Damage("a cable", f"ip -n {last[4].netns} link delete eth0"),
        Damage("a port without bridge", f"{host} link set {port} nomaster"),
        Damage("a port's flag", f"{enter}bridge link set dev {last[5].port_name} learning on"),
        Damage("a namespace", f"ip netns delete {last[6].netns}"),
        Damage("the gateway's address", f"{host} address flush dev {BRIDGE}"),
        Damage("a setting of the host", f"{sysctl} net.ipv4.ip_forward=0"),
        Damage("a setting without a notification", f"{sysctl} net.ipv4.neigh.{BRIDGE}.mcast_solicit=3"),
        Damage("a published port", f"{nft} flush map inet netctl-{TOPOLOGY} published4"),
        Damage("the whole ruleset", f"{nft} flush ruleset"),
        Damage("the bridge", f"{host} link delete {BRIDGE}"),
    ]


def read_state() -> dict[str, object]:
    """What the agent says of itself; empty while it is written."""
    try:
        found: dict[str, object] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}
    return found


def wait_until(done: object, process: subprocess.Popen[bytes]) -> float:
    """Wait until the function says so; how long that took. BenchmarkError after WAIT_S."""
    assert callable(done)
    begun_s = time.perf_counter()
    while not done():
        if process.poll() is not None or time.perf_counter() - begun_s > WAIT_S:
            raise BenchmarkError(f"the agent does not get there: {read_state()}")
        time.sleep(0.005)
    return time.perf_counter() - begun_s


def repair(damage: Damage, process: subprocess.Popen[bytes]) -> float:
    """Break it, and wait until the agent is in step again; how long that took."""
    repairs = read_state().get("repairs", 0)
    begun_s = time.perf_counter()
    subprocess.run(damage.command, shell=True, check=True)  # a constant above, with names that are drawn here

    def is_back() -> bool:
        state = read_state()
        return state.get("repairs", repairs) != repairs and bool(state.get("in_step"))

    wait_until(is_back, process)
    return time.perf_counter() - begun_s


def read_processes(pid: int) -> list[int]:
    """The agent and its workers."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def read_cpu_s(pid: int) -> float:
    """The CPU time of the agent and its workers, those that have ended included (proc_pid_stat(5))."""
    stats = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in read_processes(pid))
    return sum(int(word) for words in stats for word in words[11:15]) / TICKS


def read_memory_mb(pid: int) -> float:
    """The memory of the agent and its workers: a page that several share counts once (Pss of proc_pid_smaps(5))."""
    texts = (Path(f"/proc/{each}/smaps_rollup").read_text() for each in read_processes(pid))
    lines = (next(one for one in text.splitlines() if one.startswith("Pss:")) for text in texts)
    return sum(int(line.split()[1]) for line in lines) / 1024


def measure_idle(pid: int, seconds: float, noise: str = "") -> float:
    """The part of one core that the agent uses, in percent. `noise` is what others do five times a second."""
    before, begun_s = read_cpu_s(pid), time.perf_counter()
    number = 0
    while time.perf_counter() - begun_s < seconds:
        if noise:
            number = number % 250 + 1
            subprocess.run(noise.replace("{n}", str(number)), shell=True, check=True)
        time.sleep(0.2)
    return 100 * (read_cpu_s(pid) - before) / (time.perf_counter() - begun_s)


def run(count: int, idle_s: float, folder: Path, *, is_local: bool) -> None:
    """Measure, and print a line for each figure."""
    file = folder / "topology.yaml"
    few, more = (topology_text(count, extra=extra, is_local=is_local) for extra in (False, True))
    file.write_text(few)
    show("apply, nothing there", run_measured([NETCTL, "apply", "-q", str(file)]))
    show("apply, nothing to do", run_measured([NETCTL, "apply", "-q", str(file)]))
    show("diff, nothing differs", run_measured([NETCTL, "diff", str(file)]))
    with (folder / "log").open("wb") as log:
        begun_s = time.perf_counter()
        process = subprocess.Popen([NETCTL, "agent", str(file)], cwd=ROOT, stderr=log)
        try:
            wait_until(lambda: read_state().get("in_step"), process)
            show_time("agent: start to ready", time.perf_counter() - begun_s)
            times = {damage.what: repair(damage, process) for damage in find_damages(count, is_local=is_local)}
            for what, taken_s in times.items():
                show_time(f"agent: {what} is back", taken_s, target_s=2.0)
            show_time("agent: median of these", statistics.median(times.values()))
            time.sleep(2)
            print(f"{'agent: idle':42} {measure_idle(process.pid, idle_s):6.2f} % of a core (target 1 %)")
            noise = NOISE.replace("{host}", "" if is_local else f"-n {HOST}")
            print(f"{'agent: under noise of others':42} {measure_idle(process.pid, min(idle_s, 20), noise):6.2f} % of a core")
            print(f"{'agent: memory':42} {read_memory_mb(process.pid):6.1f} MB (target 80 MB)")
            measure_beside(process, file, few, more)
            begun_s = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            show_time("agent: end", time.perf_counter() - begun_s, target_s=5.0)
        finally:
            process.kill()
            process.wait()


def measure_beside(process: subprocess.Popen[bytes], file: Path, few: str, more: str) -> None:
    """Commands beside the agent, and one more published port: followed by the agent, and applied by a command."""
    for _ in range(ROUNDS):
        time.sleep(3)  # it has followed the last hint
        before_s, cost = read_cpu_s(process.pid), run_measured([NETCTL, "diff", str(file)])
        show("diff beside it, nothing differs", cost, more_s=read_cpu_s(process.pid) - before_s, target_s=0.3)
    repairs, begun_s = read_state()["repairs"], time.perf_counter()
    file.write_text(more)
    wait_until(lambda: read_state().get("repairs", repairs) != repairs, process)
    show_time("agent: one more published port", time.perf_counter() - begun_s, target_s=0.3)
    subprocess.run([NETCTL, "agent", "pause", "1m", str(file)], cwd=ROOT, check=True, capture_output=True)
    file.write_text(few)
    show("apply beside it: one port less", run_measured([NETCTL, "apply", "-q", str(file)]))


def show(what: str, cost: Cost, *, more_s: float = 0.0, target_s: float | None = None) -> None:
    """One line on a command, with its CPU time and that of the agent."""
    target = f" (target {target_s} s)" if target_s else ""
    print(f"{what:42} {cost.wall_s:6.2f} s, CPU {cost.cpu_s + more_s:.2f} s{target}", flush=True)


def show_time(what: str, taken_s: float, target_s: float | None = None) -> None:
    """One line."""
    target = f" (target {target_s} s)" if target_s else ""
    print(f"{what:42} {taken_s:6.2f} s{target}", flush=True)


def main() -> None:
    """Read the command line, measure, and leave nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=200, metavar="N")
    parser.add_argument("--idle", type=float, default=130.0, metavar="SECONDS", help="two full readings fall into the default")
    parser.add_argument("--local", action="store_true", help="the host itself, in namespaces of its own")
    options = parser.parse_args()
    if options.local:
        enter_machine()
    remove_all(TOPOLOGY)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(options.count, options.idle, Path(folder), is_local=options.local)
        finally:
            remove_all(TOPOLOGY)


if __name__ == "__main__":
    main()
