"""An address that goes to another container: a client of the one before reaches the new one as soon as apply returns."""

from __future__ import annotations

import pytest

from tests.harness.worlds.overlay import LabWorld

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: [10.44.0.0/24, fd44::/64]}
containers:
  near: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}}
  OWNER: {host: HOST, networks: {front: [10.44.0.10, "fd44::10"]}}
"""
PAIRS = [(member, address) for member in ("near", "far") for address in ("10.44.0.10", "fd44::10")]


def test_an_address_changes_hands(world: LabWorld) -> None:
    """From a container to another beside it, and to one on the other host, under both families; hosts are notified, too."""
    for owner, host in (("old", "alpha"), ("new", "alpha"), ("elsewhere", "beta"), ("back", "alpha")):
        world.apply(TEXT.replace("OWNER", owner).replace("HOST", host))
        assert world.unreachable(PAIRS) == [], f"{owner} on {host}"
