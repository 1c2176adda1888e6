"""What the planner asks of a record besides its fields is the same of a live one and of a desired one, for every kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.kinds import recognise_all
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.plan.execute import execute_batches
from reconciler.plan.plan import compile_plan
from reconciler.plan.subjects import names_lent_by, subjects_of
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.subject import Subject
from reconciler.topology.load import parse_topology
from tests.harness.fakes.fake_snapshot import fake_snapshot
from tests.harness.fakes.host import FakeHost
from tests.harness.topologies.every_kind import ADDRESS, EXAMPLES, MAC
from tests.harness.worlds.both import settings_of

METADATA = ("interfaces", "exposed_to", "dies_with_parent", "namespace_settings", "is_remnant")
ACROSS = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24, overlay: routes}
  far: {cidr: 10.46.0.0/24, mode: isolated}
  back: {cidr: [10.45.0.0/24, "fd45::/64"], mode: isolated}
containers:
  web: {host: alpha, networks: {front: auto}}
  api: {host: beta, networks: {front: auto}, ports: [{listen: 9090, to: 90, on: [alpha, beta]}]}
  db: {host: beta, networks: {back: auto}}
  job: {host: alpha, networks: {back: auto}}
  probe: {host: beta, networks: {far: auto}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
  - {allow: job, to: outside}
  - {allow: probe, to: web, ports: [9100/tcp]}
"""
"""A port that leads to another host, a container whose subnet is not on the host, and one that alone is masqueraded."""
FLEETS = {
    "policies across hosts": ACROSS,
    **{name: Path("examples", f"{name}.yaml").read_text() for name in ("three-hosts-routes", "web-farm", "openvswitch")},
    **{
        name: Path("tests/unit/plan/golden", name, "desired.yaml").read_text()
        for name in ("create-vxlan", "create-openvswitch-vxlan")
    },
}
"""Topologies of several hosts."""


def order_of(record: Record, present: HostState) -> dict[str, set[Ref]]:
    """The records of the host before it. A name that no record has orders nothing."""
    return {name: set(getattr(record, name)) & present.records.keys() for name in ("depends_on", "follows")}


def made(wanted: HostState, topology: str = "shop") -> HostState:
    """What a host shows on which the state was made."""
    fake = FakeHost(topology)
    fake.add_uplink("eth0", MAC, ADDRESS)
    fake.chains = {"iptables": [], "ip6tables": []}
    plan = compile_plan(recognise_all(fake.snapshot(settings_of(wanted))), wanted)
    assert execute_batches(fake, plan.remove + plan.make, lambda done, total: None).failure is None
    return recognise_all(fake.snapshot(settings_of(wanted)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_live_record_is_ordered_as_the_desired_one(example: str) -> None:
    """Else a removal, or a rollback, would go another way than the creation: a setting would be restored too early."""
    wanted = EXAMPLES[example].compile("shop")
    live = made(wanted)
    for ref, record in wanted.records.items():
        assert live.records[ref] == record
        assert order_of(live.records[ref], wanted) == order_of(record, wanted), ref
        assert [getattr(live.records[ref], name) for name in METADATA] == [getattr(record, name) for name in METADATA], ref


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_live_record_belongs_to_the_same_owner(example: str) -> None:
    """A plan that removes a thing shows it where the plan that added it did."""
    wanted = EXAMPLES[example].compile("shop")
    assert owners_that_differ(made(wanted), wanted, {}) == {}


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_host_counts_all_as_the_file_does(fleet: str) -> None:
    """Also what leads to other hosts: their names lend a forwarded port its container, and policies their parties."""
    topology = parse_topology(FLEETS[fleet].encode())
    hosts = compile_topology(topology, {}).hosts
    names = names_lent_by(record for state in hosts.values() for record in state.records.values())
    for wanted in hosts.values():
        is_switched = any(isinstance(record, OvsBridge) for record in wanted.records.values())
        live = made(wanted, topology.name) if is_switched else recognise_all(fake_snapshot(topology.name, wanted))
        assert owners_that_differ(live, wanted, names) == {}


def owners_that_differ(live: HostState, wanted: HostState, names: Mapping[str, Subject]) -> dict[Ref, tuple[Subject, Subject]]:
    """The owners in the file and of the live records, by record."""
    of_live, of_wanted = subjects_of(live.records.values(), names), subjects_of(wanted.records.values(), names)
    return {ref: (subject, of_live[ref]) for ref, subject in of_wanted.items() if of_live[ref] != subject}
