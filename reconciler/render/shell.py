"""Words, comments and here-documents of a shell script, so that no text in them is anything else.

Called by `render.commands` and the other modules that print steps.

A script is read on a terminal before it is run, so it must not steer one, and it may pass through any encoding: what is not
ASCII and printable is written as a `printf` that makes it. The words mean the same to every POSIX shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from reconciler.state.visible import visible_line

_HIDDEN = re.compile(r"[^ -~\n\t]+")


def quote(word: str) -> str:
    """The word as a shell reads it. ValueError where it has a NUL, which no word can have."""
    if "\0" in word:
        raise ValueError("a word with a NUL")
    if not _HIDDEN.search(word):
        return shlex.quote(word)
    parts, at = [], 0
    for found in _HIDDEN.finditer(word):
        parts += [word[at : found.start()], _print(found[0])]
        at = found.end()
    quoted = [shlex.quote(part) if place % 2 == 0 else part for place, part in enumerate([*parts, word[at:]]) if part]
    return "".join(quoted)


def join(words: Iterable[str]) -> str:
    """A command line of the words."""
    return " ".join(map(quote, words))


def comment(text: str) -> str:
    """A comment: one line, whatever the text."""
    return f"# {visible_line(text)}"


def here_document(command: str, text: str, word: str) -> Iterator[str]:
    """The lines that give the command the text to read; `word` ends it, or another where the text has that on a line."""
    end = word
    lines = set(text.splitlines()) | set(text.split("\n"))
    while end in lines:
        end += "_"
    yield f"{command} <<'{end}'"
    yield text
    yield end


def _print(text: str) -> str:
    octal = "".join(f"\\{byte:03o}" for byte in text.encode("utf-8", "surrogateescape"))
    return f"\"$(printf '{octal}')\""
