"""Subnets of both families over an underlay of IPv6 only, in one link and behind a router."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.harness.worlds.overlay import LabWorld

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: "2001:db8::11"}
  beta: {connect: lab, address: "2001:db8::12"}
  gamma: {connect: lab, address: "2001:db8:2::13"}
subnets:
  front: {cidr: [10.177.0.0/24, "fd00:177::/64"]}
  six: {cidr: "fd00:178::/64", overlay: auto, mode: isolated}
containers:
  web: {host: alpha, networks: {front: auto, six: auto}}
  api: {host: beta, networks: {front: auto, six: auto}, ports: [{listen: 9090, to: 90, on: [alpha, gamma]}]}
  db: {host: gamma, networks: {front: auto, six: auto}}
"""
HOME = ("web", "api", "db")


def test_both_families_cross_an_underlay_of_ipv6(world: LabWorld) -> None:
    """By VXLAN with 1,430 bytes a packet, and between neighbours by routes; a published port is asked by IPv6."""
    world.apply(TEXT)
    for dev in ("eth0", "eth1"):
        between = [(one, address) for one, two in permutations(HOME, 2) for address in world.addresses(two, dev)]
        assert world.unreachable(between, size=1430) == []
    assert world.addresses("api", "eth1")[0] in world.inside("lab.alpha").run("ip", "-6", "route", "show", "dev", "eth0").stdout
    with world.serving("api", 90):
        for address in ("2001:db8::11", "2001:db8:2::13"):
            assert world.ask("lab.outside", address, 9090).startswith("api ")
    world.verify()
