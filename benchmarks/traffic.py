"""What passes between two namespaces, and what it costs. Used by throughput.py.

TCP is measured by `iperf3`, whose two ends share the machine with everything else that runs there. So three more figures come
from one thread that holds a socket in each of the namespaces. In a call of `send` the kernel carries the packet all the way to
the other socket, through bridges, tunnels and filters. It has to wake no other thread. What this takes is the kernel's own
work, and hardly changes when the machine is busy.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from benchmarks.measure import BenchmarkError
from benchmarks.places import inside, path_of, read_output
from reconciler.kernel.namespaces import enter, run_in_thread

PORT = 5201
START_S = 5.0
BULK_BYTES = 64_000
"""Near what TCP hands over in one piece, to be cut up where it leaves the machine."""
TIMES, WARM_UP = 400, 100


@dataclass(frozen=True, slots=True)
class Way:
    """How to get from one namespace to another; `server` answers at `address`."""

    name: str
    client: str
    server: str
    address: str


@dataclass(frozen=True, slots=True)
class Flow:
    """What was seen of a way: TCP in Gbit/s, and microseconds in one thread.

    `bulk_us` is for BULK_BYTES of TCP and their acknowledgement. `round_trip_us` is for a UDP packet there and one back,
    `first_us` for the same from a port that has never sent before.
    """

    gbit: float
    bulk_us: float
    round_trip_us: float
    first_us: float


def measure_ways(ways: Sequence[Way], rounds: int, seconds: int) -> dict[str, Flow]:
    """The median of the rounds, by name. Each round goes all the ways, so that a busy while does not fall on one of them."""
    flows: dict[str, list[Flow]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            flow = Flow(read_gbit(way, seconds), *read_costs_us(way))
            flows[way.name].append(flow)
            print(f"  {way.name}: {flow.gbit:.2f} Gbit/s, {flow.bulk_us:.1f} µs, {flow.round_trip_us:.1f} µs", flush=True)
    return {name: _median(seen) for name, seen in flows.items()}


def _median(flows: Sequence[Flow]) -> Flow:
    return Flow(
        median(flow.gbit for flow in flows),
        median(flow.bulk_us for flow in flows),
        median(flow.round_trip_us for flow in flows),
        median(flow.first_us for flow in flows),
    )


# --- by iperf3 --------------------------------------------------------------------------------------------------------


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


def _wait_until_it_listens(netns: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if read_output([*inside(netns), "ss", "-Hltn", f"sport = :{PORT}"]):
            return
        time.sleep(0.02)
    raise BenchmarkError(f"iperf3 does not listen in {netns}")


# --- in one thread ----------------------------------------------------------------------------------------------------


def read_costs_us(way: Way) -> tuple[float, float, float]:
    """Medians of many: of TCP in bulk, of a UDP round trip, of a UDP round trip from a new port."""
    with _on_one_cpu():
        return _read_bulk_us(way), _read_round_trip_us(way), _read_first_us(way)


@contextmanager
def _on_one_cpu() -> Iterator[None]:
    """Keep to one CPU, so that what is sent is in its cache when it arrives, every time."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _open_socket(netns: str, kind: socket.SocketKind) -> socket.socket:
    """In a namespace; it stays there when its thread has ended."""

    def work() -> socket.socket:
        enter(path_of(netns))
        made = socket.socket(socket.AF_INET, kind)
        made.settimeout(START_S)
        return made

    return run_in_thread(work)


def _median_us(work: Callable[[], None], times: int = TIMES, warm_up: int = WARM_UP) -> float:
    taken = []
    for _ in range(warm_up + times):
        start = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - start)
    return median(taken[warm_up:]) / 1000


def _read_bulk_us(way: Way) -> float:
    data, into = bytes(BULK_BYTES), bytearray(BULK_BYTES)
    with _open_socket(way.server, socket.SOCK_STREAM) as listener, _open_socket(way.client, socket.SOCK_STREAM) as client:
        listener.bind((way.address, 0))
        listener.listen()
        # One that does not measure the time that packets take, and so waits for nothing.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:

            def carry() -> None:
                client.sendall(data)
                left = BULK_BYTES
                while left:
                    left -= server.recv_into(into, left)

            return _median_us(carry)


def _there_and_back(client: socket.socket, server: socket.socket) -> None:
    client.send(b"there")
    _, address = server.recvfrom(10)
    server.sendto(b"back", address)
    client.recv(10)


def _read_round_trip_us(way: Way) -> float:
    with _open_socket(way.server, socket.SOCK_DGRAM) as server, _open_socket(way.client, socket.SOCK_DGRAM) as client:
        server.bind((way.address, 0))
        client.connect(server.getsockname())
        return _median_us(lambda: _there_and_back(client, server))


def _read_first_us(way: Way) -> float:
    with _open_socket(way.server, socket.SOCK_DGRAM) as server:
        server.bind((way.address, 0))
        clients = [_open_socket(way.client, socket.SOCK_DGRAM) for _ in range(TIMES)]
        try:
            for client in clients:
                client.connect(server.getsockname())
            waiting = iter(clients)
            return _median_us(lambda: _there_and_back(next(waiting), server), warm_up=0)
        finally:
            for client in clients:
                client.close()
