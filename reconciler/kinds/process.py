"""The `command` of a container with `runtime: netns`: a process in its namespace, in a session of its own.

Its mark is in its environment: the owner, and the command and variables of its start. So a live command can be compared
with the desired one, and a rollback can start it again. A program may overwrite its own environment (nginx does, to
change its title). So a shell that waits for it holds the mark. As with an engine's container, the first process counts.
When it has ended, the rest of its session is ended too, and the command is started again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from reconciler.kinds.netns import Netns
from reconciler.state.process_mark import Owner
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_netns
from reconciler.state.secrets import mask_env
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFacts, Part, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(Record):
    """The running command of `container`. An empty `command` is the rest of one whose first process has ended."""

    kind = "process"
    # Deleting a namespace only deletes its name: processes in it continue, and keep it.
    dies_with_parent = False

    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    share: str = ""
    """The other container in whose network it runs; `netns` is its own in any case, though there is none then."""
    has_resolv_conf: bool = False
    """Whether it sees the resolv.conf of its container, or of the one that it shares the network with."""

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, "command")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (Netns.ref_of(container_netns(self.share) if self.share else self.netns),)

    @property
    def log(self) -> str:
        """The file with its output, in the topology's directory."""
        return Owner("", self.container, self.share).log

    @property
    def starts_last(self) -> bool:
        return True

    @property
    def is_remnant(self) -> bool:
        return not self.command

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        where = f" in the network of {self.share}" if self.share else ""
        return Phrase(Part.COMMAND, f"runs {' '.join(self.command)}{where}") if self.command else None

    def describe(self) -> str:
        where = f" in the network of {self.share}" if self.share else ""
        return f"command {' '.join(self.command)}{where}" if self.command else "the rest of a command that has ended"

    def describe_drift(self, live: Record | None, reason: str) -> str:
        return f"{self.describe()} does not run" if live is None else Record.describe_drift(self, live, reason)

    def masked(self) -> Self:
        return replace(self, env=mask_env(self.env)) if self.env else self

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for info in snapshot.processes:
            netns = container_netns(info.container)
            yield cls(
                netns=netns,
                container=info.container,
                command=info.command,
                env=info.env,
                share=info.share,
                has_resolv_conf=info.has_resolv_conf,
            )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        if not self.command:
            return ()
        return (ProcessStart(self.netns, self.container, self.command, self.env, self.share, self.has_resolv_conf),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (ProcessStop(self.netns, self.container, self.share),)
