"""Pieces of YAML text: scalars that mean the same in every version of YAML, and comments that cannot end early."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from reconciler.state.visible import visible_line

WIDTH = 120
"""Comments are wrapped here."""
SHOWN_MAX = 400
"""A longer note is cut: a foreign value may have any length."""
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"))
"""Words that some version of YAML reads as something else than text (YAML 1.1, types bool and null)."""


def scalar(text: str) -> str:
    """The text, in quotes unless every YAML reads it as that text."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else quoted(text)


def quoted(text: str) -> str:
    """The text in double quotes; all but printable ASCII is an escape (YAML 1.2, section 5.7)."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def listed(words: Iterable[str]) -> str:
    """A list on one line."""
    return f"[{', '.join(quoted(word) for word in words)}]"


def comments(notes: Iterable[str], indent: int) -> Iterator[str]:
    """Each note as lines of comment, on one column. Foreign text has no line break that could end the comment."""
    start = f"{' ' * indent}# "
    for note in notes:
        if not note:
            yield start.rstrip()
        text = visible_line(note)
        text = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]} …"
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=start, subsequent_indent=f"{start}  ", break_on_hyphens=False, break_long_words=False
        )
