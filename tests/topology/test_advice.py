"""What a file says without effect is told, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.topology.advice import find_advice
from reconciler.topology.load import load_topology, parse_topology

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
BASE = """\
version: 1
name: shop
hosts: {alpha: {connect: local}}
subnets: {front: {cidr: [10.44.0.0/24, "fd44::/64"]}, back: {cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web: {replicas: 2, networks: {front: auto, back: auto}}
  old: {networks: {front: {ipv6: false}, back: auto}}
  db: {networks: {back: auto}}
  new: {networks: {front: auto}}
policies:
  - {allow: PARTIES}
"""


@pytest.mark.parametrize("parties", ["web, to: db", "web, to: web", "web, to: front", "front, to: new", "db, to: back"])
def test_a_policy_within_a_subnet(parties: str) -> None:
    """Where the source is in every subnet of the target, a policy has no effect, and the file's line says so."""
    (advice,) = find_advice(parse_topology(BASE.replace("PARTIES", parties).encode()))
    assert (advice.position.line, advice.position.column) == (11, 5)
    assert "this policy changes nothing" in advice.message
    assert "give it a subnet" in advice.help_text


@pytest.mark.parametrize(
    "parties", ["db, to: web", "new, to: db", "front, to: back", "front, to: web", "web, to: outside", "host, to: db"]
)
def test_a_policy_between_subnets(parties: str) -> None:
    """Where one address of the target is in a subnet that the source is not in, it has: nothing is said."""
    assert not find_advice(parse_topology(BASE.replace("PARTIES", parties).encode()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_nothing_in_vain(example: Path) -> None:
    """What is copied from an example has an effect."""
    assert not find_advice(load_topology(str(example)))
