"""What the planner asks of a record besides its fields is the same of a live one and of a desired one, for every kind."""

from __future__ import annotations

import pytest

from reconciler.kinds import recognise_all
from reconciler.plan.execute import execute_batches
from reconciler.plan.plan import compile_plan
from reconciler.plan.subjects import subjects_of
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from tests.harness.fakes.host import FakeHost
from tests.harness.topologies.every_kind import ADDRESS, EXAMPLES, MAC
from tests.harness.worlds.both import settings_of

METADATA = ("interfaces", "exposed_to", "dies_with_parent", "namespace_settings", "is_remnant")
NO_OWNER = ("element",)
"""Kinds of which a host stores less than the file says: a live record is counted to the next larger owner."""


def order_of(record: Record, present: HostState) -> dict[str, set[Ref]]:
    """The records of the host before it. A name that no record has orders nothing."""
    return {name: set(getattr(record, name)) & present.records.keys() for name in ("depends_on", "follows")}


def made(wanted: HostState) -> HostState:
    """What a host shows on which the state was made."""
    fake = FakeHost("shop")
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
    of_live, of_wanted = subjects_of(made(wanted).records.values()), subjects_of(wanted.records.values())
    differing = [ref for ref, subject in of_wanted.items() if of_live[ref] != subject and ref.kind not in NO_OWNER]
    assert differing == []
