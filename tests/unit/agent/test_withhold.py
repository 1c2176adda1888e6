"""What an agent leaves as it is: what a user stopped, what another program is to run, and what is contested."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from reconciler.agent.withhold import find_awaited, find_roots, withhold
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.netns import Netns
from reconciler.plan.diff import diff_states
from reconciler.state.container_spec import HELD, LOST, ContainerSpec, HolderSpec
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from tests.harness.fakes.things import Thing, states

NONE = HostState({})
WEB = EngineContainer(
    netns="container:web", container="web", engine_name="shop-web", runtime="docker", spec=ContainerSpec("docker", "nginx")
)
STOPPED = replace(WEB, running=False)
LINK = Thing("container:web", "eth0", parents=(WEB.ref,))
ADDRESS = Thing("container:web", "10.0.0.1", parents=(LINK.ref,))
BRIDGE = Thing("", "bridge")
DB = replace(WEB, container="db", netns="container:db", engine_name="db", spec=None, existing=True)


def awaited(live: list[Record], desired: list[Record], *, repair: str = "network", held: HostState = NONE) -> set[Ref]:
    changes = diff_states(HostState.of(live), HostState.of(desired))
    assert repair in ("network", "all")
    return set(find_awaited(changes, repair, held, {"db"}))  # type: ignore[arg-type]


def test_a_container_that_was_stopped_stays_so() -> None:
    """With `repair: network` a stopped container is not started; with `all` it is."""
    assert awaited([STOPPED], [WEB]) == {WEB.ref}
    assert awaited([STOPPED], [WEB], repair="all") == set()


def test_a_container_that_lost_its_network_starts_again() -> None:
    """One that could not run without its namespace starts if its policy says so; one that a user stopped does not."""
    always = replace(WEB, spec=ContainerSpec("docker", "nginx", restart="always"), network=HELD)
    holder = NetnsHolder(netns=WEB.netns, container="web", engine_name="shop-web.net", runtime="docker", shares=HolderSpec("web"))
    ended, down = replace(always, running=False), replace(holder, running=False)
    assert awaited([ended, down], [always, holder]) == set()
    assert awaited([ended, holder], [always, holder]) == {WEB.ref}, "a user stopped it"
    never = replace(always, spec=ContainerSpec("docker", "nginx"))
    assert awaited([replace(never, running=False), down], [never, holder]) == {WEB.ref}
    lost = replace(always, network=LOST)
    assert awaited([lost], [always, holder], held=HostState.of([always])) == set(), "it runs, without a network"
    podman = replace(always, runtime="podman")
    assert awaited([replace(podman, running=False)], [podman, Netns(WEB.netns)]) == set()
    assert awaited([replace(podman, running=False), Netns(WEB.netns)], [podman, Netns(WEB.netns)]) == {WEB.ref}


def test_a_container_that_was_removed_stays_so_unless_the_file_is_new() -> None:
    """What the agent had reached and is gone was removed by a user; what it never had is created."""
    assert awaited([], [WEB]) == set()
    assert awaited([], [WEB], held=HostState.of([WEB])) == {WEB.ref}
    other = replace(WEB, spec=ContainerSpec("docker", "nginx", ("sleep",)))
    assert awaited([], [other], held=HostState.of([WEB])) == set()


def test_a_new_image_in_the_file_is_followed() -> None:
    """A container whose specification the file changes is re-created, in both modes."""
    other = replace(WEB, spec=ContainerSpec("docker", "nginx:2"))
    assert awaited([WEB], [other], held=HostState.of([WEB])) == set()
    assert awaited([STOPPED], [other], held=HostState.of([WEB])) == set()


def test_a_container_of_another_program_is_waited_for() -> None:
    """One that does not run is waited for; one that runs is wired, which is no step of the container."""
    assert awaited([], [DB]) == {DB.ref}
    running = replace(DB, container="other", netns="container:other")
    assert awaited([], [running]) == set()


def test_what_needs_the_container_waits_with_it() -> None:
    """Links and addresses of a stopped container are not created; the rest of the host is repaired."""
    live, desired = HostState.of([STOPPED]), HostState.of([WEB, LINK, ADDRESS, BRIDGE])
    left = withhold(desired, diff_states(live, desired), {WEB.ref})
    assert [change.ref for change in diff_states(live, left)] == [BRIDGE.ref]


def test_what_is_contested_is_neither_changed_nor_deleted_nor_created() -> None:
    """A contested change, deletion or creation is left; what can be created without it is created."""
    changed, extra, missing = Thing("", "a", colour=1), Thing("", "b"), Thing("", "c")
    live = HostState.of([changed, extra])
    desired = HostState.of([replace(changed, colour=2), missing, Thing("", "d", parents=(changed.ref,)), BRIDGE])
    left = withhold(desired, diff_states(live, desired), {changed.ref, extra.ref, missing.ref})
    assert {change.ref.name for change in diff_states(live, left)} == {"d", "bridge"}


@given(states(), states())
def test_withholding_everything_leaves_nothing_to_do(live: HostState, desired: HostState) -> None:
    """With all changes withheld the plan is empty; with none it is as it was."""
    changes = diff_states(live, desired)
    assert diff_states(live, withhold(desired, changes, {change.ref for change in changes})) == ()
    assert withhold(desired, changes, ()) == desired


def test_only_roots_are_counted_as_repairs() -> None:
    """The addresses of a link that was deleted are no repairs of their own."""
    changes = diff_states(HostState.of([WEB]), HostState.of([WEB, LINK, ADDRESS]))
    assert [change.ref for change in find_roots(changes)] == [LINK.ref]
