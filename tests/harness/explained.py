"""Topologies as the walk sees them: from a file alone, with real hosts assumed to be neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.compile import Desired, compile_topology
from reconciler.explain.ask import PathAnswer, ask, assumed_facts, parse_target
from reconciler.explain.build import build_world
from reconciler.explain.world import World
from reconciler.state.host import HostFacts, HostState
from reconciler.topology.load import parse_topology

HEAD = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
"""
SHOP = (
    HEAD
    + """\
subnets:
  front: {cidr: 10.44.0.0/24, hosts: [alpha, beta]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  open: {cidr: 10.46.0.0/24, mode: routed}
containers:
  web: {host: alpha, networks: {front: 10.44.0.10}, ports: ["8080:80", {listen: 8443, to: 443, from: [198.51.100.0/24]}]}
  api: {host: beta, networks: {front: 10.44.0.20}}
  db: {host: alpha, networks: {back: 10.45.0.20}}
  mail: {host: alpha, networks: {open: 10.46.0.30}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""
)


@dataclass(frozen=True, slots=True)
class Known:
    """What a file asks for."""

    desired: Desired
    facts: Mapping[str, HostFacts]

    def world(self, states: Mapping[str, HostState] | None = None) -> World:
        """The world of the desired states, or of others."""
        return build_world(self.desired.topology, states or self.desired.hosts, self.facts)

    def ask(self, start: str, target: str, states: Mapping[str, HostState] | None = None) -> PathAnswer:
        """The answer of the first family."""
        return ask(self.world(states), start, parse_target(target))[0]


def known(text: str) -> Known:
    """The desired states of a file's text."""
    topology = parse_topology(text.encode())
    facts = assumed_facts(topology)
    return Known(compile_topology(topology, facts, to_apply=False), facts)


def known_file(path: Path) -> Known:
    """The same of a file."""
    return known(path.read_text())


def layers(answer: PathAnswer) -> list[tuple[str, str]]:
    """Where the packet goes, and what decides there."""
    return [(hop.place, hop.layer) for hop in answer.there.hops]
