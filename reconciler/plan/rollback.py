"""How a plan is taken back. Nothing here, and in no kind, is an undo of its own: a change has both sides.

Called by the worker after a step has failed or the user has stopped an apply, and by `hosts.rollout` for a worker that has died.

It is not known what a step that was cut short has done, nor what the kernel or another host's change took along. So the host is
read again, and all of it is compared with what it was when the plan was made. The difference goes through the same planner and
the same executor as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.state.host import HostState
from reconciler.state.record import Change


def rollback_target(before: HostState) -> HostState:
    """What the host should be after a rollback: as it was `before`.

    What was only left of something that had ended cannot be made, and nobody misses it.
    """
    return HostState({ref: record for ref, record in before.records.items() if not record.is_remnant})


def state_before(desired: HostState, changes: Iterable[Change]) -> HostState:
    """What the host was when the plan of these changes was made to lead to `desired`."""
    records = dict(desired.records)
    for change in changes:
        if change.before is None:
            records.pop(change.ref, None)
        else:
            records[change.ref] = change.before
    return HostState(records)
