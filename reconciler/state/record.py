"""Records: what a kind of thing on a host should be, or is. Changes: a record before, a record after, and why.

A record is a frozen dataclass of strings, numbers, booleans and tuples, so it can be compared, hashed, printed and sent as
JSON. Everything that netctl knows of a kind stands in its record's class, in one file of `kinds/`: how it is recognised in
a snapshot, what counts as a difference, what forces a re-creation, and its steps. Nothing in it decides *when*: that is
`plan/`, which knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.step import Step
from reconciler.state.subject import LentNames, subject_in
from reconciler.state.summary import InterfaceFact, InterfaceFacts, Phrase


@dataclass(frozen=True, slots=True)
class Record:
    """What every kind has in common."""

    kind: ClassVar[str]
    dies_with_parent: ClassVar[bool] = True
    """Whether the kernel removes it along with what it depends on. If not, it is deleted by steps of its own."""
    nouns: ClassVar[tuple[str, str] | None] = None
    """What one and several are called, for people; None: by the kind, several with an `s`."""
    counted_as: ClassVar[str] = ""
    """Kinds with the same word here are counted together, by the `count` that they share."""
    described_as: ClassVar[str] = ""
    """Kinds with the same word here have their changes described together, by the `describe_changes` that they share.

    These come after those that are described one by one, in the order of the words."""
    root_of: ClassVar[tuple[str, ...]] = ()
    """The sorts of subjects (`container`, `subnet`, `lab`, `host`) that are there with it, and gone without it."""
    is_attachment: ClassVar[bool] = False
    """Whether it attaches a container to a network: one that stays can get and lose such."""
    is_always_there: ClassVar[bool] = False
    """Whether the host has one with some value in every case, as with a setting of the kernel."""
    can_change_hands: ClassVar[bool] = False
    """Whether it may have been another subject's before, as an address may."""

    netns: str

    @property
    def ref(self) -> Ref:
        """Its identity on the host. Each kind has a classmethod `ref_of` for it, by which other records name it."""
        raise NotImplementedError

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        """Without which it cannot be. When one of these is re-created or deleted, this one goes along."""
        return ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        """After which it is made, and before which it is deleted, though it could be without."""
        return ()

    def tell_field(self, name: str) -> tuple[str, object]:
        """What a field is called in a reason, and its value there: in the words of the file, where these are others."""
        return name, getattr(self, name)

    def goes_with(self, _parent: Ref) -> bool:
        """Whether the kernel removes it along with this one of those that it depends on."""
        return self.dies_with_parent

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        """The interfaces that it makes, by namespace and name. The kernel's settings of these go with it."""
        return ()

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        """The keys of the settings of its whole namespace that netctl may write, where the namespace goes with it."""
        return ()

    def drops(self, before: Self) -> tuple[str, ...]:
        """The kinds of dependents that the kernel removes while `before` is changed into this one in place."""
        return ()

    @property
    def is_remnant(self) -> bool:
        """Whether it is only what is left of something that has ended: it can be removed, and a rollback does without it."""
        return False

    @property
    def as_made(self) -> Self:
        """The same as netctl makes it: another one if somebody has damaged it in a way that no step can make again."""
        return self

    @property
    def subject(self) -> str:
        """For people: whose it is, as far as it says so itself. `container web`, `subnet front`, `lab`, or `host`."""
        return subject_in(self.netns)

    @property
    def names_lent(self) -> tuple[str, ...]:
        """The names (of links, addresses, hardware addresses) by which other records are known to be of its subject."""
        return ()

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        """The names that say whose it is, in place of its own subject: the first that a record lends counts."""
        return ()

    def subject_among(self, names: LentNames) -> str:
        """For people: whose it is, if records lend these names."""
        return next((names.here[name] for name in self.belongs_to_any_of if name in names.here), self.subject)

    @property
    def exposed_to(self) -> str:
        """The namespace of the container whose root can undo it (`container:web`); "" for what only the host's root can."""
        return self.netns if self.netns.startswith("container:") else ""

    def describe(self) -> str:
        """For people: what it is, in a few words, without its subject."""
        raise NotImplementedError

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        """For people: what it sets on interfaces, which is told with the link."""
        return ()

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        """For people: what it adds to the summary of its subject. `_facts` are what others set on its interfaces."""
        return None

    @classmethod
    def phrases(cls, records: Sequence[Self], facts: InterfaceFacts) -> Iterator[Phrase]:
        """For people: what records of this kind add to the summary of the subject that has all of them."""
        yield from (phrase for record in records if (phrase := record.phrase(facts)))

    @property
    def is_named(self) -> bool:
        """Whether the summary of a host has its phrase; others are only counted there."""
        return False

    @classmethod
    def count(cls, records: Sequence[Self]) -> str:
        """For people: how many records of this kind there are: `2 settings`."""
        one, many = cls.nouns or (cls.kind, f"{cls.kind}s")
        return f"{len(records):,} {one if len(records) == 1 else many}"

    @classmethod
    def describe_changes(cls, changes: Iterable[Change]) -> Iterator[str]:
        """For people: what changes of this kind come to, for one subject. Without those that need no steps."""
        yield from (change.describe() for change in changes if not change.implied)

    def masked(self) -> Self:
        """The same for printing: without the values of environment variables."""
        return self

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        """The things of this kind that are the topology's own, found by its mark."""
        raise NotImplementedError

    def must_recreate(self, before: Self) -> bool:
        """Whether `before` cannot be changed into this one in place."""
        return True

    def lower_create(self) -> tuple[Step, ...]:
        """The steps that make it."""
        raise NotImplementedError

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        """The steps that change `before` into it, where that can be done in place."""
        return before.lower_delete() + self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        """The steps that remove it."""
        raise NotImplementedError

    def lower_aftermath(self) -> tuple[Step, ...]:
        """What of `lower_delete` is still needed when a parent has taken it along: effects outside of the parent."""
        return ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between live and desired: `before` None is a creation, `after` None a deletion.

    `implied` says that a deletion needs no steps, for what it depends on takes it along. Swapping the sides inverts it.
    """

    ref: Ref
    before: Record | None
    after: Record | None
    reason: str
    recreate: bool = False
    implied: bool = False

    @property
    def record(self) -> Record:
        """What it is about: the record after it, or of a deletion the one before."""
        record = self.after or self.before
        assert record
        return record

    def describe(self) -> str:
        """For people: the change in a few words, with what differs if both sides are there."""
        if self.before and self.after:
            again = " (made anew)" if self.recreate else ""
            reason = self.reason.replace("→", "->")
            return f"{self.after.describe()}{again}: {reason}" if reason else f"{self.after.describe()}{again}"
        return f"{'add' if self.after else 'remove'} {self.record.describe()}"

    def masked(self) -> Change:
        """The same for printing (see Record)."""
        before, after = self.before and self.before.masked(), self.after and self.after.masked()
        return self if before is self.before and after is self.after else replace(self, before=before, after=after)

    @property
    def exposed_to(self) -> str:
        """The container whose root can undo it, or have caused it (see Record)."""
        return next((side.exposed_to for side in (self.after, self.before) if side and side.exposed_to), "")
