"""Lines folded to the width of a terminal, between words, with the rest of a line below its last column. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH_MIN = 40
"""On a narrower terminal nothing is folded: there would be a word on each line."""
_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
_COLUMN = re.compile(r"(?<=\S)\s{2,}(?=\S)")
"""What stands between two columns."""
_WORD = re.compile(r"\s*(?:`[^`]*`\S*|\S+)")
"""A word, or a command between backticks, with the blanks before it."""
_INDENT = 4


def fold(text: str, width: int) -> str:
    """The text without lines that are longer than `width`, unless one word alone is; `width` 0 leaves it as it is."""
    if width < WIDTH_MIN:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fold_line(line, width))


def _fold_line(line: str, width: int) -> Iterator[str]:
    if _length(line) <= width:
        yield line
        return
    indent = _hanging_indent(_ESCAPES.sub("", line), width)
    row = ""
    for word in _WORD.findall(line):
        if row.strip() and _length(row + word) > width:
            yield row.rstrip()
            row = " " * indent + word.lstrip()
        else:
            row += word
    yield row


def _hanging_indent(plain: str, width: int) -> int:
    """The column at which the rest of a line goes on: that of its last column of text, if it leaves room."""
    columns = [found.end() for found in _COLUMN.finditer(plain) if found.end() <= width // 2]
    leading = len(plain) - len(plain.lstrip())
    return columns[-1] if columns else min(leading + _INDENT, width // 2)


def _length(text: str) -> int:
    return len(_ESCAPES.sub("", text))
