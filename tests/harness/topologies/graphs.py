"""Topologies to draw, and their pictures without a host."""

from __future__ import annotations

from pathlib import Path

from reconciler.compile.resolve import resolve
from reconciler.graph.compile import NO_BADGES, compile_graph
from reconciler.graph.layout import lay_out
from reconciler.graph.model import Badges, Graph
from reconciler.graph.picture import Picture
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Topology

ROOT = Path(__file__).parents[3]
EXAMPLES = (ROOT / "topology.yaml", *sorted((ROOT / "examples").glob("*.yaml")))
WORDS = ("auth", "cart", "deals", "email", "fraud", "gift", "index", "jobs", "keys", "mail", "notify", "orders", "pay", "search")


def read(path: Path) -> Topology:
    """The topology in a file of this checkout."""
    return parse_topology(path.read_bytes(), path.name)


def graph_of(topology: Topology, badges: Badges = NO_BADGES) -> Graph:
    """Its graph, with no host read."""
    return compile_graph(topology, resolve(topology, {})[0], {}, badges)


def picture_of(topology: Topology, badges: Badges = NO_BADGES) -> Picture:
    """Its picture."""
    return lay_out(graph_of(topology, badges))


def make_large(count: int) -> Topology:
    """Containers with a name each on three hosts, some in two subnets, some with a published port."""
    lines = ["version: 1", "name: large", "hosts:"]
    hosts = ("alpha", "beta", "gamma")
    lines += [f"  {host}: {{connect: lab, address: 192.0.2.{11 + number}}}" for number, host in enumerate(hosts)]
    lines += ["subnets:", "  front: {cidr: 10.44.0.0/16}", "  back: {cidr: 10.45.0.0/16, mode: isolated}"]
    lines += ["  ops: {cidr: 10.46.0.0/16, mode: routed}", "containers:"]
    for number in range(count):
        networks = "ops: auto" if number % 11 == 0 else "back: auto" if number % 7 == 0 else "front: auto"
        networks += ", back: auto" if "front" in networks and number % 3 == 1 else ""
        port = f", ports: ['{8000 + number}:80']" if "front" in networks and number % 10 == 3 else ""
        first, second = divmod(number // len(WORDS), 26)
        name = f"{WORDS[number % len(WORDS)]}-{chr(96 + first) if first else ''}{chr(97 + second)}"
        lines.append(f"  {name}: {{host: {hosts[number % 3]}, networks: {{{networks}}}{port}}}")
    lines += ["policies:", "  - {allow: ops, to: back, ports: [22/tcp]}", "  - {allow: outside, to: ops, ports: [443/tcp]}"]
    lines += ["  - {allow: front, to: back, ports: [5432/tcp, 6379/tcp]}"]
    return parse_topology("\n".join(lines).encode())
