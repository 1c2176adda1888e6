"""The file /etc/hosts of a container that netctl created: its own name and addresses, and those that the file adds.

The lines change with the addresses, and a container must not be re-created for that. So the file is netctl's, and is
written in place. For Docker it is the holder's: the engine writes it when the holder starts, and every container that
joins the holder has the same one. The other engines mount a file of netctl's under /run/netctl. So the lines stay when
the container restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.kinds.identity import holder_ref
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_of
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.containers import HostsDelete, HostsWrite
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsFile(Record):
    """The lines of the file. `holder` is the engine's name of the holder that has it; "" if it is a file of netctl's."""

    kind = "hosts"
    nouns: ClassVar[tuple[str, str] | None] = ("hosts file", "hosts files")

    container: str
    holder: str = ""
    lines: tuple[str, ...]

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, "hosts")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (holder_ref(self.netns),) if self.holder else ()

    def describe(self) -> str:
        return "hosts file"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns, info in snapshot.holders.items():
            if info.pid:
                yield cls(netns=netns, container=info.container, holder=info.engine_name, lines=info.hosts)
        for netns, lines in snapshot.hosts.items():
            yield cls(netns=netns, container=container_of(netns), lines=lines)

    def must_recreate(self, before: Self) -> bool:
        return self.holder != before.holder

    def lower_create(self) -> tuple[Step, ...]:
        return (HostsWrite(self.netns, self.container, self.holder, self.lines),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return () if self.holder else (HostsDelete(self.netns, self.container),)
