"""The inverse of changes: each has both sides, so they are swapped. `plan.rollback` does the same with what is live."""

from __future__ import annotations

import dataclasses

from reconciler.plan.diff import is_gone, is_implied
from reconciler.state.record import Change


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
