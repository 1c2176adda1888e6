"""Items of a list with a missing dash, with a dash but no space, or with another sign. `syntax` reads lines, `typos` values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.errors import Fault, Position

ODD_DASHES = "\u2010-\u2015\u2212\u2022\u2023\u2043\u25cf\u00b7"
"""Hyphens, dashes, the minus sign and bullets that a word processor puts in place of `-`."""

COMMENT = re.compile(r"(?:^|\s)#.*")
_ITEM = re.compile(r" *- +(?P<item>\S.*)")
_WRONG = re.compile(rf"(?P<sign>[{ODD_DASHES}]|[*+](?= )) *(?P<item>\S.*)")
_GLUED = re.compile(r"-(?P<item>[^\s-].*)")
_OPTION = re.compile(r"-[A-Za-z](?![^\s=])|--[A-Za-z]")
_KEY = re.compile(r"(?P<key>[\w.-]+|\"[^\"]*\"):(?:\s|$)")


def explain_item(text: str) -> tuple[str, str] | None:
    """The fault of a line or a value that is meant as an item, with advice; None without a dash of any kind."""
    first = re.split(rf"\s+(?=[-{ODD_DASHES}]|[*+] )", text.strip())[0]
    if wrong := _WRONG.match(first):
        sign = wrong["sign"]
        return f"an item of a list starts with `-`, not with `{sign}` (U+{ord(sign):04X})", f"write `- {wrong['item']}`"
    if _OPTION.match(first):
        return _lost(first)
    if glued := _GLUED.match(first):
        return f"the dash of a list needs a space after it: `{first}`", f"write `- {glued['item']}`"
    return None


def find_wrong_dash(lines: Sequence[str], stop: Position) -> Fault | None:
    """The first line, up to where libyaml stopped, that starts with another sign than a dash; or a glued dash there."""
    for number, line in enumerate(lines[: stop.line], 1):
        text = _bare(line)
        if (_WRONG.match(text) or (number >= stop.line - 1 and _GLUED.match(text))) and (explained := explain_item(text)):
            return Fault(Position(number, width_of(line) + 1), *explained)
    return None


def find_lost_dash(lines: Sequence[str], stop: Position) -> Fault | None:
    """A line near the position where libyaml stopped that is in a column with items, and has no dash."""
    for number in range(min(stop.line, len(lines)), max(stop.line - 3, 0), -1):
        text = _bare(lines[number - 1])
        if text and text[0] not in "-]}" and _stands_beside_items(lines, number, text):
            return Fault(Position(number, width_of(lines[number - 1]) + 1), *_lost(text))
    return None


def _lost(text: str) -> tuple[str, str]:
    return f"an item of a list starts with a dash and a space: `{text}`", f"write `- {text}`"


def _stands_beside_items(lines: Sequence[str], number: int, text: str) -> bool:
    """Whether the line's neighbour in its column is an item. A key is an item only if the item above starts with the same key."""
    width, key = width_of(lines[number - 1]), _KEY.match(text)
    above = next((line for line in reversed(lines[: number - 1]) if _bare(line) and width_of(line) <= width), "")
    if width_of(above) == width and (item := _ITEM.match(above)):
        return not key or item["item"].startswith(key[0])
    below = next((line for line in lines[number:] if _bare(line)), "")
    opens = width_of(above) < width and _bare(above).endswith(":")
    return bool(not key and opens and width_of(below) == width and _ITEM.match(below))


def _bare(line: str) -> str:
    return COMMENT.sub("", line).strip()


def width_of(line: str) -> int:
    """The number of spaces of its indentation."""
    return len(line) - len(line.lstrip(" "))
