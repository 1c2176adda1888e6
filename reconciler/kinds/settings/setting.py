"""The common part of a rate limit and a switched-off offload: a setting of an owned interface that another record creates.

The kernel deletes it with the interface, and it can be changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.subject import Subject, subject_in


@dataclass(frozen=True, slots=True)
class Setting(Record):
    """A setting of the interface `dev`, which `link` creates."""

    dev: str
    link: Ref = field(compare=False)
    about: Subject = field(compare=False)
    """Its owner, for users: `container web`."""

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    def must_recreate(self, before: Self) -> bool:
        return False
