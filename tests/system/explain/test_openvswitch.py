"""`explain` beside a real packet on a real host with Open vSwitch: its flows, and the rules of the host around them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine

pytestmark = [pytest.mark.kernel, pytest.mark.long]

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
  back: {cidr: 10.45.0.0/24, mode: isolated, bridge: openvswitch}
  plain: {cidr: 10.46.0.0/24}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  app: {networks: {front: [10.44.0.20, "fd44::20"]}}
  db: {networks: {back: {address: 10.45.0.20, isolated: true}}}
  log: {networks: {back: {address: 10.45.0.21, isolated: true}}}
  api: {networks: {plain: 10.46.0.10}}
policies:
  - {allow: web, to: back, ports: [5432/tcp]}
"""
ASKED = {
    ("web", "app"): True,
    ("web", "app:80"): True,
    ("web", "db:5432"): True,
    ("web", "db:22"): False,
    ("db", "log"): False,
    ("web", "one"): True,
    ("one", "web:80"): True,
    ("api", "web:80"): False,
    ("web", "192.0.2.1"): True,
    ("api", "192.0.2.1"): True,
    ("api", "192.0.2.11:8080"): True,
    ("db", "192.0.2.1"): False,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """A machine with Open vSwitch, and the topology applied."""
    with switch_machine(tmp_path_factory) as machine:
        made = SwitchWorld.furnish(machine, TOPOLOGY)
        made.apply()
        yield made


@pytest.mark.parametrize(("start", "target"), ASKED)
def test_flows_and_rules_are_those_of_the_real_packet(world: SwitchWorld, start: str, target: str) -> None:
    """Within a switch, between switch and bridge, to the host and the outside."""
    done = world.machine.netctl("explain", start, target, "--trace", "--json", "-f", world.file)
    assert done.status in (0, 1), done.err
    for path in json.loads(done.out)["paths"]:
        wrong = [rule for rule in path["trace"]["rules"] if rule["expected"] != rule["seen"]]
        flows = [rule for rule in path["trace"]["rules"] if rule["family"] == "openflow"]
        assert flows or "api" in (start, target) or (start, target) == ("db", "log")
        assert path["passes"] == ASKED[start, target], path["reason"]
        assert path["trace"]["agrees"], (path["packet"], path["trace"].get("outcome"), path["trace"].get("why_not"), wrong)
