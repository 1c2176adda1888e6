"""Colour for a terminal: the streams that use it, and its few escape sequences."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TextIO


def wants_colour(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose user has not asked for plain text; one that stands for another says so itself."""
    known: bool | None = getattr(stream, "has_colour", None)
    if known is not None:
        return known
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours if `enabled`, else the unchanged text."""

    enabled: bool = False

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled and text else text

    def red(self, text: str) -> str:
        """Wrong, removed, unreachable."""
        return self._wrap("31", text)

    def green(self, text: str) -> str:
        """Good, added."""
        return self._wrap("32", text)

    def yellow(self, text: str) -> str:
        """Changed, drifted."""
        return self._wrap("33", text)

    def bold(self, text: str) -> str:
        """Headings."""
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        """Less important text."""
        return self._wrap("2", text)


PLAIN = Palette()
