"""What a rate limit and a switched-off offload have in common: they are set on an interface of ours that another record makes.

Such a setting goes with the interface, and is changed in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.subject import subject_in


@dataclass(frozen=True, slots=True)
class Setting(Record):
    """Something that is set on the interface `dev`, which `link` makes."""

    dev: str
    link: Ref = field(compare=False)
    about: str = field(compare=False)
    """Whose it is, for people: `container web`."""

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,)

    @property
    def subject(self) -> str:
        return subject_in(self.netns, self.about)

    def must_recreate(self, before: Self) -> bool:
        return False
