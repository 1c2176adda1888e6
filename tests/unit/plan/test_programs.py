"""When programs of the user's start: after all that a plan makes, and one that is re-created runs until then."""

from __future__ import annotations

from dataclasses import replace

from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.netns import Netns
from reconciler.kinds.process import Process
from reconciler.plan.plan import compile_plan
from reconciler.state.container_spec import HELD, OWN, ContainerSpec
from reconciler.state.host import HostState
from reconciler.state.steps.backends import PROCESS, RUNTIME

SPACES = (Netns("container:a"), Netns("container:b"), Netns("container:c"))
PROGRAM = Process(netns="container:a", container="a", command=("sleep", "1"))
ENGINES = EngineContainer(
    netns="container:b",
    container="b",
    engine_name="shop-b",
    runtime="podman",
    spec=ContainerSpec("podman", "busybox"),
    network=HELD,
)


def lanes(before: HostState, after: HostState) -> list[str]:
    """The classes of the steps of "make", in order."""
    return [type(step).__name__ for batch in compile_plan(before, after).make for step in batch.steps]


def test_programs_start_last() -> None:
    """Commands and containers start after everything else, in batches of their own."""
    plan = compile_plan(HostState({}), HostState.of([PROGRAM, ENGINES, *SPACES]))
    assert {batch.backend for batch in plan.make[-2:]} == {PROCESS, RUNTIME}
    assert not {PROCESS, RUNTIME} & {batch.backend for batch in plan.make[:-2]}


def test_an_old_one_runs_until_the_new_one_starts() -> None:
    """A container that is re-created is parked last of all, right before its successor is created."""
    before = HostState.of([ENGINES, SPACES[1]])
    after = HostState.of([replace(ENGINES, spec=ContainerSpec("podman", "busybox:2")), *SPACES])
    assert lanes(before, after) == ["NetnsAdd", "NetnsAdd", "ContainerPark", "ContainerCreate"]


def test_one_with_a_network_of_its_own_goes_first() -> None:
    """The container of an earlier version is parked before all that replaces its network is made."""
    before = HostState.of([replace(ENGINES, network=OWN)])
    after = HostState.of([ENGINES, SPACES[1]])
    order = lanes(before, after)
    assert order.index("ContainerPark") < order.index("ContainerCreate") == len(order) - 1


def test_one_that_is_elsewhere_starts_again() -> None:
    """A container whose process is in another namespace is stopped and started, not created again."""
    steps = lanes(HostState.of([replace(ENGINES, is_joined=False), SPACES[1]]), HostState.of([ENGINES, SPACES[1]]))
    assert steps == ["ContainerStop", "ContainerStart"]
