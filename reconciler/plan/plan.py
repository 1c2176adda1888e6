"""A plan: what will change on one host, and the batches that do it. A value that can be printed, sent, compared and saved."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.plan.diff import diff_states
from reconciler.plan.order import Batch, order_changes
from reconciler.state.host import HostState
from reconciler.state.record import Change
from reconciler.state.ref import Ref


@dataclass(frozen=True, slots=True)
class PhasedPlan:
    """The changes on one host, and the batches of its two phases (see `plan.order`)."""

    changes: tuple[Change, ...] = ()
    remove: tuple[Batch, ...] = ()
    make: tuple[Batch, ...] = ()

    @property
    def touched(self) -> frozenset[Ref]:
        """What the plan changes."""
        return frozenset(change.ref for change in self.changes)

    @property
    def step_count(self) -> int:
        """How many steps both phases have."""
        return sum(len(batch.steps) for batch in self.remove + self.make)


def compile_plan(live: HostState, desired: HostState) -> PhasedPlan:
    """The plan that turns `live` into `desired`; empty where nothing differs."""
    return plan_changes(diff_states(live, desired))


def plan_changes(changes: tuple[Change, ...]) -> PhasedPlan:
    """The plan that makes these changes."""
    if not changes:
        return PhasedPlan()
    remove, make = order_changes(changes)
    return PhasedPlan(changes, remove, make)
