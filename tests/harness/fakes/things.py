"""Things that stand on each other, of no kind that exists, in a world with the kernel's rules: for tests of the planner.

A `Thing` is deleted with what it stands on, as an address is deleted with its link. A `ToughThing` is not: the world refuses to
remove what still carries one, because the planner must delete it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import strategies as st

from reconciler.plan.order import Batch
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.shell import HostShell
from reconciler.state.steps.backends import NETLINK, NETNS, NFT, RUNTIME
from reconciler.state.steps.step import Step, StepError


@dataclass(frozen=True, slots=True)
class _Work(Step):
    record: Thing

    def commands(self, _shell: HostShell) -> Iterator[str]:
        yield from ()


@dataclass(frozen=True, slots=True)
class Make(_Work):
    backend = NETLINK


@dataclass(frozen=True, slots=True)
class MakeByNft(_Work):
    backend = NFT


@dataclass(frozen=True, slots=True)
class MakeByEngine(_Work):
    backend = RUNTIME


@dataclass(frozen=True, slots=True)
class Repair(_Work):
    backend = NETLINK


@dataclass(frozen=True, slots=True)
class Remove(_Work):
    backend = NETLINK


@dataclass(frozen=True, slots=True)
class RemoveByNetns(_Work):
    backend = NETNS


MAKERS = {NETLINK: Make, NFT: MakeByNft, RUNTIME: MakeByEngine}


@dataclass(frozen=True, slots=True)
class Thing(Record):
    """Of `shape`, which only a re-creation changes, and of `colour`, which can be changed in place."""

    kind: ClassVar[str] = "thing"

    name: str
    shape: int = 0
    colour: int = 0
    backend: str = NETLINK
    parents: tuple[Ref, ...] = ()
    earlier: tuple[Ref, ...] = field(default=())

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return self.parents

    @property
    def follows(self) -> tuple[Ref, ...]:
        return self.earlier

    def describe(self) -> str:
        return f"thing {self.name}"

    def must_recreate(self, before: Record) -> bool:
        assert isinstance(before, Thing)
        return (before.shape, before.backend, before.parents) != (self.shape, self.backend, self.parents)

    def lower_create(self) -> tuple[Step, ...]:
        return (MAKERS[self.backend](self.netns, self),)

    def lower_update(self, before: Record) -> tuple[Step, ...]:
        return (Repair(self.netns, self),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (RemoveByNetns(self.netns, self),) if self.backend == RUNTIME else (Remove(self.netns, self),)


@dataclass(frozen=True, slots=True)
class ToughThing(Thing):
    """Does not go with what it stands on."""

    kind: ClassVar[str] = "tough"
    dies_with_parent: ClassVar[bool] = False


class ThingWorld:
    """A host of things.

    It refuses to make what is there or has nothing to stand on, and to remove what is not there or still carries something
    tough.
    """

    def __init__(self, state: HostState) -> None:
        """It starts as `state`."""
        self.records: dict[Ref, Record] = dict(state.records)

    @property
    def state(self) -> HostState:
        return HostState(dict(self.records))

    def run(self, batch: Batch) -> None:
        for step, ref in zip(batch.steps, batch.refs, strict=True):
            assert isinstance(step, _Work)
            assert step.record.ref == ref
            assert step.backend == batch.backend
            self._run(step, ref)

    def _run(self, step: _Work, ref: Ref) -> None:
        if isinstance(step, Remove | RemoveByNetns):
            if ref not in self.records:
                raise StepError(step, f"{ref} is not there")
            self._remove(step, ref)
            return
        if isinstance(step, Repair) != (ref in self.records):
            raise StepError(step, f"{ref} is there already, or is not there to be changed")
        if missing := [parent for parent in step.record.parents if parent not in self.records]:
            raise StepError(step, f"{ref} needs {missing}")
        self.records[ref] = step.record

    def _remove(self, step: Step, ref: Ref) -> None:
        for other in [each for each, record in self.records.items() if ref in record.depends_on]:
            if other in self.records:
                if not self.records[other].dies_with_parent:
                    raise StepError(step, f"{ref} still carries {other}")
                self._remove(step, other)
        del self.records[ref]


@st.composite
def states(draw: st.DrawFn, size: int = 9) -> HostState:
    """A state of up to `size` things. Each stands only on things before it, and only on what is in the state."""
    records: list[Thing] = []
    for number in range(size):
        if not draw(st.booleans()):
            continue
        below = [record.ref for record in records]
        some = st.lists(st.sampled_from(below), unique=True, max_size=2).map(tuple) if below else st.just(())
        cls = ToughThing if number % 2 else Thing
        records.append(
            cls(
                netns=("", "container:a", "container:b")[number % 3],
                name=f"t{number}",
                shape=draw(st.integers(0, 1)),
                colour=draw(st.integers(0, 1)),
                backend=draw(st.sampled_from((NETLINK, NFT, RUNTIME))),
                parents=draw(some),
                earlier=draw(some),
            )
        )
    return HostState.of(records)
