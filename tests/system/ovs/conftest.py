"""Worlds with a real Open vSwitch (see `world`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
  back: {cidr: 10.45.0.0/24, mode: isolated, bridge: openvswitch, mtu: 1400}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  app: {networks: {front: [10.44.0.20, "fd44::20"], back: auto}}
  db: {networks: {back: 10.45.0.20}}
policies:
  - {allow: web, to: back, ports: [5432/tcp]}
"""


@pytest.fixture(scope="module")
def bare_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """A machine with Open vSwitch, shared by the tests of a module; each leaves nothing of netctl's."""
    with switch_machine(tmp_path_factory) as machine:
        yield SwitchWorld.furnish(machine, TOPOLOGY)


@pytest.fixture
def world(bare_world: SwitchWorld) -> SwitchWorld:
    """The topology, applied. It stays for the next test."""
    bare_world.write(TOPOLOGY)
    bare_world.apply()
    return bare_world


@pytest.fixture
def cleared(bare_world: SwitchWorld) -> SwitchWorld:
    """Nothing of netctl's."""
    bare_world.write(TOPOLOGY)
    bare_world.netctl("destroy")
    return bare_world
