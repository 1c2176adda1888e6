"""The resolv.conf of a container: its resolver, and the domains in which it looks for short names.

netctl keeps a copy of its own under /run/netctl. In a plain namespace, a command and `netctl exec` have this file as
/etc/resolv.conf. Engines mount a file of theirs into each container, so netctl writes that one in place. They write it
again at each start, which is drift. What was there before stays below a mark, and returns when netctl leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

from reconciler.kinds.identity import container_ref, holder_ref, netns_ref
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_of
from reconciler.state.snapshot import ResolvConfInfo, Snapshot
from reconciler.state.steps.names import ResolvConfDelete, ResolvConfWrite
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf(Record):
    """The lines of the file. `engine` is the runtime that has one of its own; "" in a plain namespace."""

    kind = "resolvconf"
    dies_with_parent = False
    nouns: ClassVar[tuple[str, str] | None] = ("resolv.conf", "resolv.conf files")

    container: str
    lines: tuple[str, ...]
    engine: str = field(default="", compare=False)
    holder: str = field(default="", compare=False)
    """Of the container that has the file: a holder has it for all that join it."""
    owner: Ref | None = field(default=None, compare=False)
    """The record of what has the file; None if unknown, in a live record."""

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, "resolv.conf")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def starts_last(self) -> bool:
        # What has the file may be a container, which itself starts last.
        return self.engine != "" and self.owner is not None and self.owner.kind == "container"

    def describe(self) -> str:
        return "resolv.conf"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for info in snapshot.resolv_confs:
            yield cls(
                netns=info.netns,
                container=container_of(info.netns),
                lines=info.lines,
                engine=info.runtime,
                holder=info.engine_name,
                owner=_owner_of(snapshot, info),
            )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (ResolvConfWrite(self.netns, self.container, self.engine, self.holder, self.lines),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (ResolvConfDelete(self.netns, self.container, self.engine, self.holder),)


def _owner_of(snapshot: Snapshot, info: ResolvConfInfo) -> Ref:
    if not info.runtime:
        return netns_ref(info.netns)
    return holder_ref(info.netns) if info.netns in snapshot.holders else container_ref(info.netns)
