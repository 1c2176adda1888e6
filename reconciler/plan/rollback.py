"""How a plan is taken back. Nothing here, and in no kind, is an undo of its own: a change has both sides.

Called by the worker after a step has failed or the user has stopped an apply.

What a step that was cut short has done is not known, so the host is read again, and what the plan has touched is compared
with what it was. The difference goes through the same planner and the same executor as any other.
"""

from __future__ import annotations

from reconciler.plan.plan import Plan
from reconciler.state.host import HostState


def rollback_target(plan: Plan, live: HostState) -> HostState:
    """What the host should be after a rollback: all that `plan` touches as it was before, the rest as it is in `live`, now.

    What was only left of something that had ended cannot be made, and nobody misses it.
    """
    touched = plan.touched
    wanted = {ref: record for ref, record in live.records.items() if ref not in touched}
    wanted |= {change.ref: change.before for change in plan.changes if change.before is not None and not change.before.is_remnant}
    return HostState(wanted)
