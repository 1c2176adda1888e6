"""Moves that a host or a container must not remember the wrong way: each was found by trying topologies at random."""

from __future__ import annotations

import pytest

from tests.harness.netctl import UNSTARTABLE, run_netctl
from tests.harness.worlds.overlay import LabWorld

pytestmark = pytest.mark.kernel

ROUTES = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
subnets:
  front: {cidr: [10.190.0.0/24, "fd00:190::/64"], overlay: routes}
containers:
  web: {host: alpha, networks: {front: auto}}
  db: {host: beta, networks: {front: auto}}
"""
POLICY = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
  gamma: {connect: lab, address: 192.0.2.13}
subnets:
  front: {cidr: 10.191.0.0/24}
  back: {cidr: 10.192.0.0/24}
containers:
  web: {host: alpha, networks: {front: 10.191.0.10}}
  app: {host: beta, networks: {back: 10.192.0.20}}
  other: {host: gamma, networks: {back: 10.192.0.30}}
policies:
  - {allow: back, to: front}
"""
FAMILIES = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
subnets:
  one: {cidr: 10.193.0.0/24}
  six: {cidr: [10.194.0.0/24, "fd00:194::/64"]}
containers:
  both: {networks: {one: auto, six: auto}}
  x: {networks: {one: auto}}
"""


def test_a_host_subnet_is_restored_with_its_ipv6_routes_and_settings(world: LabWorld) -> None:
    """A container moves away, and a step fails: routes come back after the addresses that they are from, and all is as before."""
    world.apply(ROUTES)
    failing = ROUTES.replace(
        "db: {host: beta, networks: {front: auto}", "db: {host: alpha, networks: {front: auto}, command: BROKEN"
    )
    assert world.refused(failing.replace("BROKEN", UNSTARTABLE)).status == 4
    world.file.write_text(ROUTES.replace("NAME", world.name))
    plan = run_netctl("diff", world.file)
    assert plan.status == 0, plan.out
    assert world.unreachable([("web", address) for address in world.addresses("db")]) == []


def test_no_host_sends_containers_redirects(world: LabWorld) -> None:
    """Between subnets both hosts see a connection. A container that believed a redirect past one would keep it for minutes."""
    world.apply(POLICY)
    assert world.unreachable([("app", "10.191.0.10")]) == []
    world.inside("app").run("ping", "-c6", "-i0.2", "10.191.0.10")
    assert "redirected" not in world.inside("web").run("ip", "route", "show", "cache").stdout
    world.apply(POLICY.replace("app: {host: beta", "app: {host: gamma"))
    assert world.unreachable([("app", "10.191.0.10")]) == []


def test_a_container_gets_ipv6_by_another_network(world: LabWorld) -> None:
    """The link that it has is removed in the same plan, so nothing may be written to its settings."""
    world.apply(FAMILIES)
    world.apply(FAMILIES.replace("x: {networks: {one: auto}}", "x: {networks: {six: auto}}"))
    assert world.unreachable([("x", address) for address in world.addresses("both", "eth1")]) == []
