"""States of a host, and what differs between two of them in any field."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.plan.document import CODEC
from reconciler.state.host import HostState
from reconciler.state.subject import Subject
from reconciler.worker import protocol
from tests.harness.topologies.every_kind import EXAMPLES

ELEMENT = FirewallElement(netns="", family="inet", topology="t", set="own4", key="10.0.0.0/24", about=Subject.subnet("a"))


def test_a_field_that_does_not_count_is_a_change() -> None:
    """Two records may be equal and name another owner: the worker must have the new one, because plans show it."""
    renamed = replace(ELEMENT, about=Subject.subnet("b"))
    assert renamed == ELEMENT
    changed, gone = HostState.of([renamed]).since(HostState.of([ELEMENT]))
    assert ([record.subject for record in changed.records.values()], gone) == ([Subject.subnet("b")], ())


@pytest.mark.parametrize("before", EXAMPLES)
def test_changes_lead_from_any_state_to_any_other(before: str) -> None:
    """A worker that gets only the changes, as JSON, has every field of the state that was meant."""
    states = [example.compile("t") for example in EXAMPLES.values()]
    known = EXAMPLES[before].compile("t")
    for state in (*states, HostState({})):
        changed, gone = state.since(known)
        request = protocol.Plan(host="one", desired=changed, document=False, is_change=True, gone=gone)
        line = json.loads(json.dumps(protocol.encode_request(request)))
        received = protocol.decode_request(line)
        assert isinstance(received, protocol.Plan)
        found = known.with_changes(received.desired, received.gone)
        assert {repr(record) for record in found.records.values()} == {repr(record) for record in state.records.values()}
        assert state.since(found) == (HostState({}), ())
    assert CODEC.encode(known.since(known)[0]) == []


def test_a_state_shares_the_records_of_the_one_before() -> None:
    """Identical records are the same objects, and a record that differs in any field is the new one."""
    other = replace(ELEMENT, key="10.0.1.0/24")
    before = HostState.of([ELEMENT, other])
    renamed = replace(other, about=Subject.subnet("b"))
    found = HostState.of([replace(ELEMENT), renamed]).sharing(before).records
    assert [found[ELEMENT.ref] is ELEMENT, found[other.ref] is renamed] == [True, True]
