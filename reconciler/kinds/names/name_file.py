"""The file that a resolver answers from: an address and its names in each line, as in /etc/hosts.

The file is replaced as a whole, and the resolver reads it again at SIGHUP. An apply needs one file and one signal for
all its changes. dnsmasq answers queries that arrive meanwhile afterwards. The order of lines says nothing, so they are sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.state.record import Change, Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.names import NamesDelete, NamesWrite
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject

SHOWN_MAX = 3
"""How many names a plan lists by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFile(Record):
    """The lines for a view of a subnet, sorted."""

    kind = "names"
    dies_with_parent = False
    nouns: ClassVar[tuple[str, str] | None] = ("name", "names")

    subnet: str
    view: str = ""
    lines: tuple[str, ...]

    @classmethod
    def ref_of(cls, subnet: str, view: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, HOST, f"{subnet} {view}".strip())

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.subnet, self.view)

    @property
    def subject(self) -> Subject:
        return Subject.subnet(self.subnet)

    @classmethod
    def count(cls, records: Sequence[Self]) -> str:
        number = len({name for record in records for name in record.names})
        return f"{number:,} name{'' if number == 1 else 's'}"

    @property
    def names(self) -> frozenset[str]:
        """The first name of each line, with its address."""
        return frozenset(" ".join(reversed(line.split()[:2])) for line in self.lines)

    def describe(self) -> str:
        return "names" + (f" of view {self.view}" if self.view else "")

    def reason_field(self, name: str) -> tuple[str, object]:
        return (name, len(self.lines)) if name == "lines" else (name, getattr(self, name))

    @classmethod
    def describe_changes(cls, changes: Iterable[Change]) -> Iterator[str]:
        added, removed = set[str](), set[str]()
        for change in changes:
            before = change.before.names if isinstance(change.before, NameFile) else frozenset()
            after = change.after.names if isinstance(change.after, NameFile) else frozenset()
            added |= after - before
            removed |= before - after
        for word, names in (("add", added), ("remove", removed)):
            listed = sorted(names)
            yield from (f"{word} name {name}" for name in listed[:SHOWN_MAX])
            if len(listed) > SHOWN_MAX:
                yield f"{word} {len(listed) - SHOWN_MAX:,} more names"
        if not added and not removed:
            yield "change names of the same addresses"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for (subnet, view), lines in snapshot.names.items():
            yield cls(netns=HOST, subnet=subnet, view=view, lines=lines)

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (NamesWrite(HOST, self.subnet, self.view, self.lines),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (NamesDelete(HOST, self.subnet, self.view),)
