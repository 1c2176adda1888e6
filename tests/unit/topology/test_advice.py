"""What a file says without effect is reported, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.topology.advice import find_advice
from reconciler.topology.load import load_topology, parse_topology

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").glob("*.yaml"))
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


@pytest.mark.parametrize(
    ("parties", "said"),
    [
        ("new, to: host", "a host and its containers reach each other on all ports"),
        ("host, to: db", "a host and its containers reach each other on all ports"),
        ("new, to: outside", "`new` reaches the outside on all ports"),
        ("open, to: outside", "`open` reaches the outside on all ports"),
        ("outside, to: open", "the outside reaches `open` on all ports"),
        ("outside, to: router-1", "the outside reaches `router-1` on all ports"),
    ],
)
def test_ports_that_restrict_nothing(parties: str, said: str) -> None:
    """Ports of a policy between ends that reach each other anyway read like a restriction: it is said that they are none."""
    text = BASE.replace("back: {", "open: {cidr: 10.46.0.0/24, mode: routed}, back: {")
    text = text.replace("  new:", "  router-1: {networks: {open: auto}}\n  new:")
    (advice,) = find_advice(parse_topology(text.replace("PARTIES", f"{parties}, ports: [80]").encode()))
    assert (advice.position.line, advice.position.column) == (12, 5)
    assert said in advice.message
    assert advice.help_text.startswith("remove it")
    assert not find_advice(parse_topology(text.replace("PARTIES", parties).encode()))


def test_ports_that_let_out() -> None:
    """A policy is what lets an isolated subnet out, so its ports have an effect."""
    assert not find_advice(parse_topology(BASE.replace("PARTIES", "db, to: outside, ports: [80]").encode()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_say_nothing_in_vain(example: Path) -> None:
    """What is copied from an example has an effect."""
    assert not find_advice(load_topology(str(example)))
