"""Values of environment variables: none is left in a masked plan, whatever record or step has them, and none in a reason."""

from __future__ import annotations

import pytest

from reconciler.kinds import KINDS
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.process import Process
from reconciler.plan.diff import diff_states
from reconciler.plan.document import HostPlan, compile_document, render_document, shown_document
from reconciler.plan.plan import compile_plan
from reconciler.render.commands import Section, render_script
from reconciler.state.codec import fields_of, step_types
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.secrets import MASK, SECRET_FIELDS, hide
from reconciler.state.shell import HostShell
from reconciler.state.steps.containers import ContainerCreate, ProcessStart

SECRET, OTHER = "hunter2-of-db", "correct horse"
ENV = (("PASSWORD", SECRET), ("EMPTY", ""))


def spec_of(runtime: str, secret: str = SECRET) -> ContainerSpec:
    return ContainerSpec(runtime, "/srv/image", ("sleep", "1"), (("PASSWORD", secret), ("EMPTY", "")))


RECORDS: tuple[Record, ...] = (
    Process(netns="container:web", container="web", command=("sleep", "1"), env=ENV),
    EngineContainer(netns="container:a", container="a", engine_name="shop-a", runtime="docker", spec=spec_of("docker")),
    EngineContainer(netns="container:b", container="b", engine_name="shop-b", runtime="podman", spec=spec_of("podman")),
    EngineContainer(netns="container:c", container="c", engine_name="shop-c", runtime="lxc", spec=spec_of("lxc")),
)


def test_every_class_with_secrets_masks_them() -> None:
    """A record or step with a secret field, or a spec in it, is one of those that are tested here."""
    classes = (*KINDS, *step_types().values())
    holders = {cls for cls in classes if {name for name, _, _ in fields_of(cls)} & {*SECRET_FIELDS, "spec"}}
    assert holders == {Process, EngineContainer, ContainerCreate, ProcessStart}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.kind} {record.ref.name}")
def test_a_masked_plan_has_names_only(record: Record) -> None:
    """Created, changed, removed: neither the document nor the script has the value; the document before it was masked has."""
    empty, wanted = HostState({}), HostState.of((record,))
    for live, desired in ((empty, wanted), (wanted, empty)):
        plan = compile_plan(live, desired)
        document = compile_document("shop", (HostPlan("one", "", plan.step_count, plan.changes, plan.remove, plan.make),))
        masked = shown_document(document)
        assert SECRET in render_document(document)
        text = render_document(masked)
        assert SECRET not in text
        assert "PASSWORD" in text
        assert MASK in text
        runs = tuple(batch.steps for batch in (*masked.hosts[0].remove, *masked.hosts[0].make))
        assert SECRET not in render_script("x", [Section("one", HostShell("shop", "local"), runs)])
        assert shown_document(masked) == masked


@pytest.mark.parametrize(
    ("before", "after", "reason", "revealed"),
    [
        ((("A", SECRET),), (("A", OTHER),), "A is ***, wanted ***", f"A is {SECRET}, wanted {OTHER}"),
        ((("A", SECRET),), (), "env is A ***, wanted empty", f"env is A {SECRET}, wanted empty"),
        ((("A", ""),), (("A", OTHER), ("B", OTHER)), "A is ***, wanted ***; B is empty, wanted ***", None),
    ],
)
def test_a_reason_names_the_variable(
    before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...], reason: str, revealed: str | None
) -> None:
    """What differs is said by the names of variables: of a process, and of what a container was made from."""
    for make in (
        lambda env: Process(netns="container:web", container="web", command=("sleep",), env=env),
        lambda env: EngineContainer(
            netns="container:web",
            container="web",
            engine_name="shop-web",
            runtime="docker",
            spec=ContainerSpec("docker", "x", (), env),
        ),
    ):
        changes = diff_states(HostState.of((make(before),)), HostState.of((make(after),)))
        assert changes[0].reason == reason
        document = compile_document("shop", (HostPlan("one", "", 1, changes),))
        assert shown_document(document).hosts[0].changes[0].reason == reason
        assert revealed in {None, shown_document(document, show_secrets=True).hosts[0].changes[0].reason}


def test_the_words_of_another_program_are_masked() -> None:
    """Each value that stands in them, the longest first; what is as short as any word is left."""
    env = (("A", SECRET), ("B", SECRET + "-long"), ("C", "on"), ("D", ""))
    assert hide(f"bad line on: A={SECRET} B={SECRET}-long", env) == f"bad line on: A={MASK} B={MASK}"
