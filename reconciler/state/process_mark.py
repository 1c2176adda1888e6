"""The mark of a process that netctl starts in a namespace: environment variables that name its owner.

`ProcessStart` writes it, and `kernel` reads it. `kinds.process` says why a shell holds it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeGuard

from reconciler.state.grammar import is_label
from reconciler.state.jsontext import parse_json

PROCESS_MARK = "NETCTL_PROCESS"
"""The variable with the owner of a process; its children inherit it.

It is `<topology>/<container>`, or `<topology>/<container>/<other>` in the network of another container.
"""
COMMAND_MARK = "NETCTL_COMMAND"
"""The variable that only the shell has: the command and its environment, as JSON."""
MARK_MAX_BYTES = 1 << 21
"""The kernel accepts no longer variable (MAX_ARG_STRLEN in linux/binfmts.h, with pages of 64 KiB)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The container of a process, and the other container whose network it has; "" for its own."""

    topology: str
    container: str
    share: str = ""

    def __str__(self) -> str:
        """The value of PROCESS_MARK."""
        return "/".join(filter(None, (self.topology, self.container, self.share)))

    @property
    def netns(self) -> str:
        """The container in whose namespace it runs."""
        return self.share or self.container

    @property
    def log(self) -> str:
        """The file with the output, in the topology's directory; it stays as long as the namespace does."""
        return ".".join(filter(None, (self.share, self.container))) + ".log"


def parse_owner(text: str) -> Owner | None:
    """The inverse of `str(Owner)`; None if no topology could have it."""
    parts = text.split("/")
    return Owner(*parts) if len(parts) in (2, 3) and all(map(is_label, parts)) else None


def marks_of(
    topology: str,
    container: str,
    command: tuple[str, ...],
    env: tuple[tuple[str, str], ...],
    share: str = "",
    *,
    has_resolv_conf: bool = False,
) -> tuple[tuple[str, str], ...]:
    """The variables by which netctl recognises a command."""
    owner = Owner(topology, container, share)
    return (PROCESS_MARK, str(owner)), (
        COMMAND_MARK,
        json.dumps([command, env, *([True] if has_resolv_conf else [])], separators=(",", ":")),
    )


def parse_command_mark(text: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], bool]:
    """The command and the environment of a COMMAND_MARK, and whether it has a resolv.conf of its own.

    Both are empty if the mark is not netctl's.
    """
    try:
        command, env, *rest = parse_json(text, MARK_MAX_BYTES)
    except (ValueError, TypeError):
        return (), (), False
    if not _are_words(command) or not isinstance(env, list) or not all(_are_words(pair) and len(pair) == 2 for pair in env):
        return (), (), False
    return tuple(command), tuple((name, value) for name, value in env), rest == [True]


def _are_words(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def words_of(command: tuple[str, ...], resolv_conf: str = "") -> tuple[str, ...]:
    """The words that run a command: a shell that holds the mark and waits. It ends with the command, and with its status.

    With `resolv_conf`, the command sees that file as its own, in a mount namespace of its own.
    """
    if resolv_conf:
        command = (*bind_words(resolv_conf), *command)
    return ("/bin/sh", "-c", f'unset {COMMAND_MARK}; "$@"; exit $?', "sh", *command)


RESOLV_CONF = "/etc/resolv.conf"
_BIND = f'if [ -e "$1" ] && [ -e {RESOLV_CONF} ]; then mount --bind "$1" {RESOLV_CONF}; fi; shift; exec "$@"'


def bind_words(path: str) -> tuple[str, ...]:
    """The words before a command that let it see a file as its resolv.conf, if there is one.

    Mounts of the host still arrive in its mount namespace, so a namespace that netctl unmounts is not kept alive.
    """
    return ("unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", _BIND, "sh", path)
