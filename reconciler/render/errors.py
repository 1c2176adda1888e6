"""Errors as text for users: a sentence and advice; for a topology file also the position, the line and a caret.

topology.yaml:14:11: error: 10.44.0.1/24 has host bits set
14 |     cidr: 10.44.0.1/24
|           ^
help: write 10.44.0.0/24
"""

from __future__ import annotations

from unicodedata import combining, east_asian_width

from reconciler.errors import Fault, NetctlError, TopologyError
from reconciler.render.colour import PLAIN, Palette
from reconciler.state.visible import visible, visible_line

TAB_WIDTH = 4
SHOWN_FAULTS = 50
"""The most faults of a file that are shown: a generated file may have one on each line."""
SHOWN_COLUMNS = 120
"""A source line longer than this is cut on both sides of its fault."""


def render_error(error: NetctlError, palette: Palette = PLAIN) -> str:
    """The whole message, without a newline at the end."""
    if isinstance(error, TopologyError):
        lines = error.source.splitlines()
        return "\n\n".join(_render_fault(error.path, lines, fault, palette) for fault in error.faults[:SHOWN_FAULTS])
    text = f"{palette.red('error:')} {visible(error.message)}"
    if error.help_text:
        text += "\n" + "\n".join(f"{palette.bold('help:')} {line}" for line in visible(error.help_text).splitlines())
    return text


def render_warning(path: str, source: str, fault: Fault, palette: Palette = PLAIN) -> str:
    """The same for a warning, without a newline at the end."""
    return _render_fault(path, source.splitlines(), fault, palette, "warning:")


def _render_fault(path: str, lines: list[str], fault: Fault, palette: Palette, word: str = "error:") -> str:
    location = f"{visible_line(path)}:{fault.position.line}:{fault.position.column}:"
    shown = [f"{palette.bold(location)} {palette.red(word)} {visible(fault.message)}"]
    if 1 <= fault.position.line <= len(lines) and lines[fault.position.line - 1].strip():
        source, caret = source_and_caret(lines[fault.position.line - 1], fault.position.column)
        gutter = f"{fault.position.line:5d}"
        shown.append(palette.dim(f"{gutter} |") + f" {source}".rstrip())
        shown.append(palette.dim(f"{'':5} |") + f" {palette.red(caret)}")
    for number, line in enumerate(visible(fault.help_text).splitlines()):
        shown.append(f"        {line}" if number else f"  {palette.bold('help:')} {line}")
    return "\n".join(shown)


def source_and_caret(line: str, column: int) -> tuple[str, str]:
    """The line in its shown form, and a line with a caret under its `column` (a count of characters, from 1)."""
    at = min(max(column - 1, 0), len(line))
    start = max(0, at - SHOWN_COLUMNS // 2) if len(line) > SHOWN_COLUMNS else 0
    shown = _spread(line[start : start + SHOWN_COLUMNS])
    before = _spread(line[start:at])
    if start:
        shown, before = "…" + shown, "…" + before
    if start + SHOWN_COLUMNS < len(line):
        shown += "…"
    return shown, " " * _width(before) + "^"


def _spread(text: str) -> str:
    """Tabs become a fixed number of blanks, so that the caret's position does not depend on the start of the text."""
    return visible_line(text.replace("\t", " " * TAB_WIDTH))


def _width(text: str) -> int:
    """The columns that the text takes on a terminal (Unicode Annex 11: wide and fullwidth take two, combining none)."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)
