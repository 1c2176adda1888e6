"""Foreign text made safe for a terminal: control characters, bidi marks and line separators become escapes.

Text of a host, an engine, a program or a file may hold an escape sequence that rewrites a terminal. It may hold a mark
that reverses the reading direction, or a line break that begins a false line. All output of the program passes here:
`cli` escapes its streams, `render` single values, `kernel.run_directory.notes` and `fleet.session` logs.
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The text with everything but printable characters, line breaks and tabs as escapes of Python's: `\x1b`, `\u202e`."""
    return text if text.isprintable() else "".join(char if char in "\n\t" else _escape(char) for char in text)


def visible_line(text: str) -> str:
    r"""The same on one line: line breaks and tabs are escapes, too: `\n`."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
