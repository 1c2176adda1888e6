"""What passes between two namespaces: TCP by iperf3, and the round trip of a ping. Used by throughput.py."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import BenchmarkError
from benchmarks.places import inside, read_output

PORT = 5201
START_S = 5.0
PINGS = 300


@dataclass(frozen=True, slots=True)
class Way:
    """How to get from one namespace to another; `server` answers at `address`."""

    name: str
    client: str
    server: str
    address: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What was seen of a way: TCP in Gbit/s, and the average round trip in microseconds."""

    gbit: float
    round_trip_us: float


def measure_ways(ways: Sequence[Way], rounds: int, seconds: int) -> dict[str, Flow]:
    """The best of the rounds, by name. Each round goes all the ways, so that a busy while does not fall on one of them."""
    flows: dict[str, list[Flow]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            flow = Flow(read_gbit(way, seconds), read_round_trip_us(way))
            flows[way.name].append(flow)
            print(f"  {way.name}: {flow.gbit:.2f} Gbit/s, {flow.round_trip_us:.0f} µs", flush=True)
    return {name: Flow(max(flow.gbit for flow in seen), min(flow.round_trip_us for flow in seen)) for name, seen in flows.items()}


def read_gbit(way: Way, seconds: int) -> float:
    """Of one TCP connection, as it arrives."""
    words = [*inside(way.server), "iperf3", "--server", "--one-off", "--port", str(PORT)]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_listens(way.server)
        output = read_output(
            [*inside(way.client), "iperf3", "--client", way.address, "--port", str(PORT), "--time", str(seconds), "--json"]
        )
    finally:
        server.terminate()
        server.wait()
    return float(json.loads(output)["end"]["sum_received"]["bits_per_second"]) / 1e9


def read_round_trip_us(way: Way) -> float:
    """The average of many pings in a row."""
    output = read_output([*inside(way.client), "ping", "-q", "-n", "-i", "0.002", "-c", str(PINGS), way.address])
    found = re.search(r"= [\d.]+/([\d.]+)/", output)
    if not found:
        raise BenchmarkError(f"no round trip in:\n{output}")
    return 1000 * float(found[1])


def _wait_until_it_listens(netns: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if read_output([*inside(netns), "ss", "-Hltn", f"sport = :{PORT}"]):
            return
        time.sleep(0.02)
    raise BenchmarkError(f"iperf3 does not listen in {netns}")
