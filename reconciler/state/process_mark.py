"""The mark of a process that netctl starts in a namespace: environment variables that name its owner.

`ProcessStart` writes it, and `kernel` reads it. `kinds.process` says why a shell holds it.
"""

from __future__ import annotations

import json
from typing import TypeGuard

from reconciler.state.jsontext import parse_json

PROCESS_MARK = "NETCTL_PROCESS"
"""The variable with the owner of a process, `<topology>/<container>`; its children inherit it."""
COMMAND_MARK = "NETCTL_COMMAND"
"""The variable that only the shell has: the command and its environment, as JSON."""
MARK_MAX_BYTES = 1 << 21
"""The kernel accepts no longer variable (MAX_ARG_STRLEN in linux/binfmts.h, with pages of 64 KiB)."""


def marks_of(
    topology: str, container: str, command: tuple[str, ...], env: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """The variables by which netctl recognises a command."""
    return (PROCESS_MARK, process_owner(topology, container)), (COMMAND_MARK, json.dumps([command, env], separators=(",", ":")))


def process_owner(topology: str, container: str) -> str:
    """The value of PROCESS_MARK; without a container, what those of a topology begin with."""
    return f"{topology}/{container}"


def parse_process_owner(text: str) -> tuple[str, str]:
    """The inverse: topology and container, whatever their form."""
    topology, _, container = text.partition("/")
    return topology, container


def parse_command_mark(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The command and the environment of a COMMAND_MARK; both empty if it is not netctl's."""
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
    """The words that run a command: a shell that holds the mark and waits. It ends with the command, and with its status."""
    return ("/bin/sh", "-c", f'unset {COMMAND_MARK}; "$@"; exit $?', "sh", *command)
