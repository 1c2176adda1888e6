"""How a plan is taken back. Nothing here, and in no kind, is an undo of its own: a change has both sides.

Called by the worker after a step has failed or the user has stopped an apply.

What a step that was cut short has done is not known, so the host is read again, and what the plan has touched is compared
with what it was. The difference goes through the same planner and the same executor as any other.
"""

from __future__ import annotations

import dataclasses

from reconciler.plan.diff import is_gone, is_implied
from reconciler.plan.plan import Plan, compile_plan
from reconciler.state.host import HostState
from reconciler.state.record import Change


def rollback_target(plan: Plan, live: HostState) -> HostState:
    """What the host should be after a rollback: all that `plan` touches as it was before, the rest as it is in `live`, now."""
    touched = plan.touched
    wanted = {ref: record for ref, record in live.records.items() if ref not in touched}
    wanted |= {change.ref: change.before for change in plan.changes if change.before is not None}
    return HostState(wanted)


def compile_rollback(plan: Plan, live: HostState) -> Plan:
    """The plan that leads there."""
    return compile_plan(live, rollback_target(plan, live))


def invert_changes(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """The changes that undo `changes` once all of them are made: both sides swapped."""
    swapped = [
        dataclasses.replace(
            change,
            before=change.after,
            after=change.before,
            reason="taken back",
            recreate=change.recreate or _recreates(change),
            implied=False,
        )
        for change in changes
    ]
    gone = {change.ref for change in swapped if is_gone(change)}
    return tuple(
        dataclasses.replace(change, implied=True)
        if change.before is not None and change.ref in gone and is_implied(change.before, gone)
        else change
        for change in swapped
    )


def _recreates(change: Change) -> bool:
    """Whether the way back needs a re-creation, though the way there did not."""
    return change.before is not None and change.after is not None and change.before.must_recreate(change.after)
