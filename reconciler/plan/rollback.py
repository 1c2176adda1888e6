"""How a plan is taken back. Nothing here, and in no kind, is an undo of its own: a change has both sides.

It is not known what a step that was cut short has done, nor what the kernel or another host's change took along. So the host is
read again, and all of it is compared with what it was when the plan was made. The difference goes through the same planner and
the same executor as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.state.host import HostState
from reconciler.state.record import Change


def rollback_target(before: HostState, live: HostState = HostState({})) -> HostState:  # noqa: B008  a frozen value
    """What the host should be after a rollback from `live`: as it was `before`.

    A rollback does not create remnants of things that had ended. A damaged thing that was re-created since stays as netctl
    creates it.
    """
    records = {ref: record for ref, record in before.records.items() if not record.is_remnant}
    return HostState({ref: record if live.records.get(ref) == record else record.as_made for ref, record in records.items()})


def find_repaired(before: HostState, target: HostState) -> tuple[Change, ...]:
    """The damages of before that a rollback does not bring back, each as the difference that is left."""
    pairs = ((target.records[ref], record) for ref, record in before.records.items() if ref in target.records)
    reason = "netctl re-created it, so the change that was made in it by hand is lost"
    return tuple(Change(record.ref, now, record, reason) for now, record in pairs if now != record)


def state_before(desired: HostState, changes: Iterable[Change]) -> HostState:
    """What the host was when the plan of these changes was made to lead to `desired`."""
    records = dict(desired.records)
    for change in changes:
        if change.before is None:
            records.pop(change.ref, None)
        else:
            records[change.ref] = change.before
    return HostState(records)
