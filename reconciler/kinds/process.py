"""The `command` of a container with `runtime: netns`: a process in its namespace, in a session of its own.

Its mark stands in its environment: whose it is, and the command and variables that it was started with. So what runs can
be compared with what should, and can be started again when an apply is taken back. A program may write over its own
environment (nginx does, to change its title), so the mark is held by a shell that waits for it. As with an engine's
container, the first process is what counts: when it has ended, what is left of its session is ended too, and the command
runs anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self, TypeGuard

from reconciler.kinds.netns import Netns
from reconciler.state.jsontext import parse_json
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_netns
from reconciler.state.secrets import mask_env
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.step import Step

PROCESS_MARK = "NETCTL_PROCESS"
"""The variable that says whose a process is, `<topology>/<container>`; its children have it too."""
COMMAND_MARK = "NETCTL_COMMAND"
"""The variable that only the shell has: the command and its variables, as JSON."""
MARK_MAX_BYTES = 1 << 21
"""The kernel takes no longer variable (MAX_ARG_STRLEN in linux/binfmts.h, with pages of 64 KiB)."""


def marks_of(
    topology: str, container: str, command: tuple[str, ...], env: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """The variables by which a command is known again."""
    return (PROCESS_MARK, f"{topology}/{container}"), (COMMAND_MARK, json.dumps([command, env], separators=(",", ":")))


def parse_command_mark(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The command and the variables of a COMMAND_MARK; both empty if it is not one of ours."""
    try:
        command, env = parse_json(text, MARK_MAX_BYTES)
    except (ValueError, TypeError):
        return (), ()
    if not _are_words(command) or not isinstance(env, list) or not all(_are_words(pair) and len(pair) == 2 for pair in env):
        return (), ()
    return tuple(command), tuple((name, value) for name, value in env)


def _are_words(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def words_of(command: tuple[str, ...]) -> tuple[str, ...]:
    """What is run for a command: the shell that holds the mark, and waits. It ends when the command does, with its status."""
    return ("/bin/sh", "-c", f'unset {COMMAND_MARK}; "$@"; exit $?', "sh", *command)


@dataclass(frozen=True, slots=True)
class Process(Record):
    """The running command of `container`. An empty `command` is what is left of one whose first process has ended."""

    kind = "process"
    # Deleting a namespace only takes its name away: processes in it live on, and keep it.
    dies_with_parent = False

    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, "command")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (Netns.ref_of(self.netns),)

    @property
    def is_remnant(self) -> bool:
        return not self.command

    @property
    def subject(self) -> str:
        return f"container {self.container}"

    def describe(self) -> str:
        return f"command {' '.join(self.command)}" if self.command else "what is left of a command that has ended"

    def masked(self) -> Self:
        return replace(self, env=mask_env(self.env)) if self.env else self

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for info in snapshot.processes:
            yield cls(container_netns(info.container), info.container, info.command, info.env)

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        if not self.command:
            return ()
        return (ProcessStart(self.netns, self.container, self.command, self.env),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (ProcessStop(self.netns, self.container),)
