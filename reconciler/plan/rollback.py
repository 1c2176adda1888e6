"""The rollback of a plan. No code here, and none of a kind, is an undo of its own: a change has both sides.

netctl cannot know what an interrupted step did, nor what the kernel or another host's change deleted with a thing. So
it reads the host again, and compares all of it with the state before the plan. The difference goes through the same
planner and the same executor as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.state.host import HostState
from reconciler.state.record import Change


def rollback_target(before: HostState, live: HostState = HostState({})) -> HostState:  # noqa: B008  a frozen value
    """The target of a rollback from `live`: the state `before`.

    A rollback does not create remnants of things that had ended. A damaged thing that was re-created since stays as
    netctl creates it.
    """
    records = {ref: record for ref, record in before.records.items() if not record.is_remnant}
    return HostState({ref: record if live.records.get(ref) == record else record.as_made for ref, record in records.items()})


def find_repaired(before: HostState, target: HostState) -> tuple[Change, ...]:
    """The earlier damages that a rollback does not restore, each as the remaining difference."""
    pairs = ((target.records[ref], record) for ref, record in before.records.items() if ref in target.records)
    reason = "netctl re-created it, so the manual change in it is lost"
    return tuple(Change(record.ref, now, record, reason) for now, record in pairs if now != record)


def state_before(desired: HostState, changes: Iterable[Change]) -> HostState:
    """The state of the host before a plan of these changes was compiled to reach `desired`."""
    records = dict(desired.records)
    for change in changes:
        if change.before is None:
            records.pop(change.ref, None)
        else:
            records[change.ref] = change.before
    return HostState(records)
