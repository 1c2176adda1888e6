"""Records: what a thing on a host should be, or is. Changes: a record before, a record after, and the reason.

A record is a frozen dataclass of strings, numbers, booleans and tuples, so it can be compared, hashed, printed and sent
as JSON. All that netctl knows of a kind stands in its record's class, in one file of `kinds/`. The class has its
recognition in a snapshot, comparison, fields that force a re-creation, and steps. The class does not decide *when*:
that is the work of `plan/`, which knows no kind by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from reconciler.state.ref import Ref, is_container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.step import Step
from reconciler.state.subject import LentNames, Sort, Subject, subject_in
from reconciler.state.summary import InterfaceFact, InterfaceFacts, Phrase

InterfaceKey = tuple[str, str]
"""A namespace, and the name of an interface in it."""


@dataclass(frozen=True, slots=True)
class Record:
    """The interface of every kind."""

    kind: ClassVar[str]
    dies_with_parent: ClassVar[bool] = True
    """Whether the kernel deletes it together with a record that it depends on. If not, steps of its own delete it."""
    nouns: ClassVar[tuple[str, str] | None] = None
    """The singular and the plural for users; None: the kind's name, and its plural with an `s`."""
    counted_as: ClassVar[str] = ""
    """Kinds with the same word here are counted together, by the `count` that they share."""
    described_as: ClassVar[str] = ""
    """Kinds with the same word here have their changes described together, by their common `describe_changes`.

    These descriptions follow those of single changes, in the order of the words.
    """
    root_of: ClassVar[tuple[Sort, ...]] = ()
    """The sorts of subjects (`container`, `subnet`, `lab`, `host`) that exist exactly as long as this record."""
    is_attachment: ClassVar[bool] = False
    """Whether it attaches a container to a network. A container that stays can get and lose attachments."""
    is_always_there: ClassVar[bool] = False
    """Whether every host has it with some value, as it has a setting of the kernel."""
    can_change_hands: ClassVar[bool] = False
    """Whether it may have belonged to another subject before, as an address may."""

    netns: str

    @property
    def ref(self) -> Ref:
        """Its identity on the host. Each kind has a classmethod `ref_of` for it, by which other records name it."""
        raise NotImplementedError

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        """The records that it needs. When one of them is re-created or deleted, so is this one."""
        return ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        """The records after which it is created, and before which it is deleted, although it can exist without them."""
        return ()

    def reason_field(self, name: str) -> tuple[str, object]:
        """A field's name and value in a reason, in the terms of the file if these differ."""
        return name, getattr(self, name)

    def is_deleted_with(self, _parent: Ref) -> bool:
        """Whether the kernel deletes it together with this record, one of those that it depends on."""
        return self.dies_with_parent

    @property
    def starts_last(self) -> bool:
        """Whether it is a program of the user's, which starts when its network is complete: after all other creations."""
        return False

    @property
    def interfaces(self) -> tuple[InterfaceKey, ...]:
        """The interfaces that it creates, by namespace and name. The kernel deletes their settings with it."""
        return ()

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        """The settings of its whole namespace that netctl may write, if the namespace is deleted with it."""
        return ()

    def drops(self, before: Self) -> tuple[str, ...]:
        """The kinds of dependents and followers that the kernel deletes or resets while it changes `before` in place."""
        return ()

    def silenced(self, before: Self) -> tuple[InterfaceKey, ...]:
        """The interfaces that lose IPv6 and its settings while the kernel changes `before` into this record in place."""
        return ()

    def overwrites(self, _before: Self) -> tuple[str, ...]:
        """The kernel settings of its namespace that a change of `before` into this record in place writes besides."""
        return ()

    @property
    def is_remnant(self) -> bool:
        """Whether it is only the rest of something that has ended. It can be deleted, and a rollback does not restore it."""
        return False

    def is_ended(self, _live: Record | None) -> bool:
        """Whether it is a container that should run, and `_live`, its live record, does not."""
        return False

    @property
    def logs_help(self) -> str:
        """A hint where to read why it has ended."""
        return ""

    @property
    def as_made(self) -> Self:
        """The record as netctl creates it. It differs from this one after damage that no step can reproduce."""
        return self

    @property
    def subject(self) -> Subject:
        """Its owner for users, as far as the record knows it: `container web`, `subnet front`, `lab`, or `host`."""
        return subject_in(self.netns)

    @property
    def names_lent(self) -> tuple[str, ...]:
        """Names (of links, addresses, hardware addresses) that identify other records as its subject's."""
        return ()

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        """The names that identify its owner, in place of its own subject; the first that a record lends decides."""
        return ()

    def subject_among(self, names: LentNames) -> Subject:
        """Its owner for users, given the names that records lend."""
        return next((names.here[name] for name in self.belongs_to_any_of if name in names.here), self.subject)

    @property
    def exposed_to(self) -> str:
        """The namespace of the container whose root can undo it (`container:web`); "" if only the host's root can."""
        return self.netns if is_container_netns(self.netns) else ""

    def describe(self) -> str:
        """A few words for users that describe it without its subject."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """Its short name for users, as the subject of a sentence: `eth0`, `bridge b-shop-front`."""
        return self.describe()

    def describe_drift(self, live: Record | None, reason: str) -> str:
        """The difference of its live record from this desired one, for users; `reason` names the fields that differ."""
        return f"{self.label} is gone" if live is None else f"{self.describe()}: {reason}"

    def resets(self, before: Self, child: Record) -> bool:
        """Whether `child` is lost or reset with `before`, on which it depends, when any program changes `before` into this."""
        return child.kind in self.drops(before)

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        """Its properties of interfaces, for users; the summary shows them with the link."""
        return ()

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        """Its part of the summary of its subject, for users. `_facts` are the interface facts of other records."""
        return None

    @classmethod
    def phrases(cls, records: Sequence[Self], facts: InterfaceFacts) -> Iterator[Phrase]:
        """The parts of a summary that all records of this kind add for one subject, for users."""
        yield from (phrase for record in records if (phrase := record.phrase(facts)))

    @property
    def is_named(self) -> bool:
        """Whether its phrase is part of a host's summary; other records are only counted there."""
        return False

    @classmethod
    def count(cls, records: Sequence[Self]) -> str:
        """The count of records of this kind, for users: `2 settings`."""
        one, many = cls.nouns or (cls.kind, f"{cls.kind}s")
        return f"{len(records):,} {one if len(records) == 1 else many}"

    @classmethod
    def describe_changes(cls, changes: Iterable[Change]) -> Iterator[str]:
        """A description for users of the changes of this kind for one subject, without changes that need no steps."""
        yield from (change.describe() for change in changes if not change.implied)

    def masked(self) -> Self:
        """The same for printing, without the values of environment variables."""
        return self

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        """The topology's own things of this kind, found by its mark."""
        raise NotImplementedError

    def must_recreate(self, before: Self) -> bool:
        """Whether `before` cannot be changed into this record in place."""
        return True

    def lower_create(self) -> tuple[Step, ...]:
        """The steps that create it."""
        raise NotImplementedError

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        """The steps that change `before` into it, if that is possible in place."""
        return before.lower_delete() + self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        """The steps that delete it."""
        raise NotImplementedError

    def lower_aftermath(self) -> tuple[Step, ...]:
        """The steps of `lower_delete` that are needed even if the kernel deleted it with a parent: effects outside of it."""
        return ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between live and desired: `before` None is a creation, `after` None a deletion.

    `implied` marks a deletion without steps, because the kernel deletes the record together with a parent. The inverse
    of a change swaps its sides.
    """

    ref: Ref
    before: Record | None
    after: Record | None
    reason: str
    recreate: bool = False
    implied: bool = False

    @property
    def record(self) -> Record:
        """The record after the change; of a deletion, the record before."""
        record = self.after or self.before
        assert record
        return record

    def describe(self) -> str:
        """The change in a few words, for users, with the differences if it has both sides."""
        if self.before and self.after:
            again = " (re-created)" if self.recreate else ""
            reason = self.reason.replace("→", "->")
            return f"{self.after.describe()}{again}: {reason}" if reason else f"{self.after.describe()}{again}"
        return f"{'add' if self.after else 'remove'} {self.record.describe()}"

    def masked(self) -> Change:
        """The same for printing (see Record)."""
        before, after = self.before and self.before.masked(), self.after and self.after.masked()
        return self if before is self.before and after is self.after else replace(self, before=before, after=after)

    @property
    def exposed_to(self) -> str:
        """The container whose root can undo the change, or can have caused it (see Record)."""
        return next((side.exposed_to for side in (self.after, self.before) if side and side.exposed_to), "")
