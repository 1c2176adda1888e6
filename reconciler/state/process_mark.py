"""The mark of a process that netctl starts in a namespace: variables of its environment that say whose it is.

`ProcessStart` writes it, and the kernel side finds and reads it. See `kinds.process`, which says why it is held by a shell.
"""

from __future__ import annotations

import json
from typing import TypeGuard

from reconciler.state.jsontext import parse_json

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
