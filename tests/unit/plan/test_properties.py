"""What holds of the planner for any two states."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.plan.diff import diff_states
from reconciler.plan.execute import execute_batches
from reconciler.plan.order import CycleError, order_changes
from reconciler.plan.plan import PhasedPlan, compile_plan, plan_changes
from reconciler.plan.rollback import rollback_target
from reconciler.state.host import HostState
from reconciler.state.ref import Ref
from reconciler.state.steps.step import StepError
from tests.harness.fakes.inverse import invert_changes
from tests.harness.fakes.things import Make, Remove, Thing, ThingWorld, ToughThing, states


def run(world: ThingWorld, plan: PhasedPlan) -> None:
    outcome = execute_batches(world, plan.remove + plan.make, lambda done, total: None)
    assert outcome.failure is None
    assert outcome.steps_done == plan.step_count


def shuffled(state: HostState, seed: int) -> HostState:
    records = list(state.records.values())
    random.Random(seed).shuffle(records)
    return HostState.of(records)


@given(states())
def test_nothing_differs_from_itself(state: HostState) -> None:
    """diff(x, x) is empty, and so is its plan."""
    assert diff_states(state, HostState(dict(state.records))) == ()
    assert compile_plan(state, state) == PhasedPlan()


@given(states(), states())
@settings(max_examples=400)
def test_the_plan_leads_from_one_to_the_other(a: HostState, b: HostState) -> None:
    """The batches of diff(a, b), run on a in a world that refuses every wrong order, give b."""
    world = ThingWorld(a)
    run(world, compile_plan(a, b))
    assert world.state == b


@given(states(), states())
@settings(max_examples=400)
def test_the_inverse_leads_back(a: HostState, b: HostState) -> None:
    """The inverse of diff(a, b), run on b, gives a."""
    world = ThingWorld(b)
    run(world, plan_changes(invert_changes(diff_states(a, b))))
    assert world.state == a


@given(states(), states(), st.integers(), st.integers())
def test_the_order_of_the_input_never_matters(a: HostState, b: HostState, seed: int, other: int) -> None:
    """Two states with their records in any order give the same plan, batch for batch."""
    assert compile_plan(shuffled(a, seed), shuffled(b, other)) == compile_plan(a, b)


@given(states(), states(), st.data())
@settings(max_examples=200)
def test_a_failure_at_any_batch_is_rolled_back(a: HostState, b: HostState, data: st.DataObject) -> None:
    """Stopped after any number of steps, even within a batch, the rollback plan leads back to a."""
    plan = compile_plan(a, b)
    stop = data.draw(st.integers(0, plan.step_count))
    world = ThingWorld(a)
    for batch in plan.remove + plan.make:
        part = min(stop, len(batch.steps))
        world.run(type(batch)(batch.backend, batch.netns, batch.steps[:part], batch.refs[:part]))
        stop -= part
    run(world, compile_plan(world.state, rollback_target(a)))
    assert world.state == a


@given(states(), states())
def test_a_batch_is_of_one_lane_and_namespace(a: HostState, b: HostState) -> None:
    """Every step of a batch is of its backend; in the backends with a connection per namespace, also of its namespace."""
    plan = compile_plan(a, b)
    for batch in plan.remove + plan.make:
        assert {step.backend for step in batch.steps} == {batch.backend}
        if batch.backend in ("netlink", "nft"):
            assert {step.netns for step in batch.steps} == {batch.netns}


def test_records_in_a_circle_are_an_error() -> None:
    """Two records that depend on each other are reported by name, and nothing hangs."""
    a, b = Ref("thing", "", "a"), Ref("thing", "", "b")
    state = HostState.of([Thing("", "a", parents=(b,)), Thing("", "b", parents=(a,))])
    with pytest.raises(CycleError, match="thing a, thing b"):
        order_changes(diff_states(HostState({}), state))


def test_what_stands_on_a_thing_is_recreated_with_it() -> None:
    """A re-creation makes its live dependents again: tough ones are deleted in "remove", the others go by themselves."""
    base = Thing("", "base")
    soft, tough = Thing("", "soft", parents=(base.ref,)), ToughThing("", "tough", parents=(base.ref,))
    live = HostState.of([base, soft, tough])
    new = Thing("", "base", shape=1)
    plan = compile_plan(live, HostState.of([new, soft, tough]))
    assert [(c.ref.name, c.recreate, c.implied, c.reason) for c in plan.changes] == [
        ("base", True, False, "shape is 0, wanted 1"),
        ("soft", True, True, "deleted with thing base"),
        ("tough", True, False, "deleted with thing base"),
    ]
    assert [batch.steps for batch in plan.remove] == [(Remove("", tough),)]
    assert [batch.steps for batch in plan.make] == [(Remove("", base), Make("", new), Make("", soft), Make("", tough))], (
        "one batch, so that what is made again is never missing for longer than it takes"
    )


def test_a_thousand_containers_take_few_batches() -> None:
    """One batch for all their links, and one for each container's inside: none is cut in two by another's turn."""
    links = [ToughThing("", f"v{n}") for n in range(1000)]
    inner = [Thing(f"container:{n}", "address", parents=(links[n].ref,)) for n in range(1000)]
    routes = [Thing(f"container:{n}", "route", parents=(inner[n].ref,)) for n in range(1000)]
    plan = compile_plan(HostState({}), HostState.of([*routes, *inner, *links]))
    assert len(plan.make) == 1001


def test_the_executor_reports_the_thing_that_failed() -> None:
    """A refused step stops the execution; its thing and the host's own word are in the outcome."""

    class Refusing(ThingWorld):
        def _run(self, step: object, ref: Ref) -> None:
            if ref.name == "b":
                raise StepError(step, "no room")  # type: ignore[arg-type]
            super()._run(step, ref)  # type: ignore[arg-type]

    world = Refusing(HostState({}))
    plan = compile_plan(world.state, HostState.of([Thing("", "a"), Thing("container:x", "b", parents=(Thing("", "a").ref,))]))
    outcome = execute_batches(world, plan.make, lambda done, total: None)
    assert outcome.failure is not None
    assert (outcome.steps_done, outcome.failure.ref, outcome.failure.message) == (1, Ref("thing", "container:x", "b"), "no room")


def test_a_cancelled_execution_stops_between_batches() -> None:
    """After a cancellation the batch in hand is finished and no other begun."""
    world = ThingWorld(HostState({}))
    below = Thing("", "a")
    plan = compile_plan(world.state, HostState.of([below, Thing("container:x", "b", parents=(below.ref,))]))
    outcome = execute_batches(world, plan.make, lambda done, total: None, cancelled=lambda: bool(world.records))
    assert outcome.failure is not None
    assert outcome.failure.ref is None
    assert list(world.records) == [below.ref]
