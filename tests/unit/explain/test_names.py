"""A query of a container with a view of its own is redirected to the name server of that view, and its answer returns."""

from __future__ import annotations

from reconciler.cli.explain import load_states
from reconciler.explain.ask import ask, parse_target
from reconciler.explain.build import build_world
from reconciler.topology.load import parse_topology

TEXT = """\
version: 1
name: t
dns: true
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: [10.44.0.0/24, "fd44::/64"]}, back: {cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}}
  other: {networks: {front: auto}}
  db: {networks: {back: auto}}
policies: [{allow: web, to: db, ports: [80/tcp]}]
"""


def test_a_query_goes_to_the_name_server() -> None:
    """By both families: the firewall redirects a query to the gateway, and the host takes it."""
    world = build_world(*load_states(parse_topology(TEXT.encode())))
    for address in ("10.44.0.1", "[fd44::1]"):
        (path,) = ask(world, "web", parse_target(f"{address}:53/udp"))
        assert path.passes
        assert any(hop.words.startswith("the query goes to the name server") for hop in path.there.hops)
