"""The line of a file that is indented wrongly: the file is a valid topology if the line starts in another column.

`load` calls `find_shift` for a file that has faults. YAML notices a wrong column lines later, or not at all if the line
then belongs to another value. So the lines around the fault are tried in the columns of the lines around them, and each
trial is checked as a file is. The number of trials is bounded: they cost as much as reading the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from reconciler.errors import Fault, Position
from reconciler.topology.dashes import COMMENT, width_of

Judge = Callable[[str], list[int] | None]
"""The lines of a text that have faults as those of a topology; None if the text is not YAML."""

_LINES_BACK = 12
"""The number of lines above the fault that are tried; above these only lines that open a block around it or next to it."""
_BLAMED_MAX = 4
"""Of a file that can be read: the number of faults near which lines are tried. One shifted line seldom causes more."""
_LINES_TRIED_MAX = 60_000
"""Lines read in all trials of one file together: about half a second."""
_STEP = 2
_DASHES = re.compile(r" *((?:- +)+)\S")


class _Trial(NamedTuple):
    """The faults that remain if the line starts in the column; the fewest, and the likeliest, sort first."""

    is_wrong: bool
    faults: int
    unlikely: int
    distance: int
    line: int
    width: int


def find_shift(lines: Sequence[str], lines_blamed: Sequence[int], judge: Judge, *, is_readable: bool) -> Fault | None:
    """The fault of the line that is indented wrongly, near one of the lines `lines_blamed`; None if none is found.

    In another column, it must leave no fault near it. For a file that can be read, every fault must disappear: else the
    file may have another mistake.
    """
    trials = sorted(_try_lines(lines, lines_blamed, judge, is_readable=is_readable))
    if not trials or trials[0].is_wrong or (is_readable and trials[0].faults):
        return None
    return _fault(lines, trials)


def _try_lines(lines: Sequence[str], lines_blamed: Sequence[int], judge: Judge, *, is_readable: bool) -> Iterator[_Trial]:
    usual = Counter(width_of(line) for line in lines if _says_something(line))
    blamed = lines_blamed[-1] if lines_blamed else 0
    candidates = _lines_at(lines, lines_blamed[:_BLAMED_MAX]) if is_readable else _lines_above(lines, blamed)
    budget = _LINES_TRIED_MAX // max(len(lines), 1)
    for number in dict.fromkeys(candidates):
        line = lines[number - 1]
        for width in _columns(lines, number, blamed):
            if (budget := budget - 1) < 0:
                return
            faults = judge("\n".join((*lines[: number - 1], " " * width + line.lstrip(" "), *lines[number:])) + "\n")
            if faults is not None:
                is_wrong = any(min(number, blamed) - 2 <= faulty <= max(number, blamed) + 1 for faulty in faults)
                unlikely = _STEP * usual[width_of(line)] - usual[width] + len(lines) * (width % _STEP)
                yield _Trial(is_wrong, len(faults), unlikely, blamed - number, number, width)


def _lines_at(lines: Sequence[str], lines_blamed: Sequence[int]) -> Iterator[int]:
    """The lines of faults, and their neighbours."""
    filled = [number for number in range(1, len(lines) + 1) if _says_something(lines[number - 1])]
    for blamed in (blamed for blamed in lines_blamed if blamed in filled):
        at = filled.index(blamed)
        yield from (blamed, *filled[at + 1 : at + 2], *filled[max(at - 1, 0) : at])


def _lines_above(lines: Sequence[str], blamed: int) -> Iterator[int]:
    """The lines that may have caused a fault that YAML notices in line `blamed`, the nearest first."""
    least, count = 1000, 0
    for number in range(min(blamed, len(lines)), 0, -1):
        line = lines[number - 1]
        if _says_something(line):
            count += 1
            if count <= _LINES_BACK or width_of(line) <= least:
                yield number
            least = min(least, width_of(line))


def _columns(lines: Sequence[str], number: int, blamed: int) -> list[int]:
    """The possible columns of the line, other than its own: those of the lines around it, and one step in."""
    found = {width for width, _ in levels_above(lines, number, is_item=False)}
    above = next((line for line in reversed(lines[: number - 1]) if _says_something(line)), "")
    below = next((line for line in lines[number:] if _says_something(line)), "")
    if above:
        found.add(_inner(above) + _STEP)
    if below:
        found |= {width_of(below), max(width_of(below) - _STEP, 0)}
    if blamed <= len(lines):
        found.add(width_of(lines[blamed - 1]))
    return sorted(found - {width_of(lines[number - 1])})


def _fault(lines: Sequence[str], trials: Sequence[_Trial]) -> Fault:
    """The first trial in words, with the line's other columns, and with another line that is as likely."""
    best = trials[0]
    line = lines[best.line - 1]
    beside, where = _where(lines, best)
    message = f"line {best.line} is indented by {spaces(width_of(line))}"
    message += f", and line {beside} by {best.width}" if beside else ""
    help_text = f"indent it by {spaces(best.width)}{where}"
    others = {trial.width: trial for trial in trials if trial.line == best.line and trial.width != best.width}
    nearest = sorted(others, key=lambda width: abs(width - width_of(line)))[:2]
    for width in nearest:
        beside, _ = _where(lines, others[width])
        help_text += f", or by {width}" + (f" as line {beside}" if beside else "")
    other = next((each for each in trials if each.line != best.line), best)
    if other.line != best.line and other[:2] == best[:2]:
        help_text += f"; or indent line {other.line} by {spaces(other.width)}"
    return Fault(Position(best.line, width_of(line) + 1), message, help_text)


def _where(lines: Sequence[str], trial: _Trial) -> tuple[int, str]:
    """The line with that column (0 if none has it), and the parent of the tried line there, in words."""
    above = list(levels_above(lines, trial.line, is_item=lines[trial.line - 1].lstrip().startswith("- ")))
    if number := next((number for width, number in above if width == trial.width), 0):
        return number, f" if it is on the level of line {number}"
    parent = next((number for width, number in above if width < trial.width), 0)
    below = (number for number in range(trial.line + 1, len(lines) + 1) if _says_something(lines[number - 1]))
    sibling = next((number for number in below if width_of(lines[number - 1]) <= trial.width), 0)
    if sibling and width_of(lines[sibling - 1]) == trial.width:
        return sibling, f" if it is on the level of line {sibling}"
    return 0, f" if it belongs to line {parent}" if parent else ""


def _says_something(line: str) -> bool:
    return bool(COMMENT.sub("", line).strip())


def _inner(line: str) -> int:
    """The column in which the mapping of an item starts, behind its dashes."""
    item = _DASHES.match(line)
    return width_of(line) + (len(item[1]) if item else 0)


def explain_indentation(lines: Sequence[str], stop: Position) -> Fault | None:
    """The line at which YAML stopped, if it continues no block: it starts in a column in which nothing above it starts.

    It is for a file without a single line whose indentation alone is wrong.
    """
    if stop.line > len(lines):
        return None
    width = width_of(lines[stop.line - 1])
    above = list(levels_above(lines, stop.line, is_item=lines[stop.line - 1].lstrip().startswith("- ")))
    is_child = above and width > above[0][0] and lines[above[0][1] - 1].rstrip().endswith(":")
    if not above or is_child or width in {each for each, _ in above} or lines[stop.line - 1].lstrip()[:1] in ("]", "}"):
        return None
    nearest, line = above[0]
    message = f"line {stop.line} is indented by {spaces(width)}, and line {line} by {nearest}"
    outer = next(((each, number) for each, number in above if each < width), None)
    inner = next(((each, number) for each, number in reversed(above) if width < each < nearest), None)
    help_text = f"indent it by {spaces(nearest)} if it is on the level of line {line}"
    for level in (inner, outer if width < nearest else None):
        help_text += f", or by {level[0]} as line {level[1]}" if level else ""
    return Fault(Position(stop.line, width + 1), message, help_text)


def levels_above(lines: Sequence[str], last: int, *, is_item: bool) -> Iterator[tuple[int, int]]:
    """The widths at which the blocks around a line start, the nearest first, each with its line; an item opens two.

    For another item, only the one of its dash counts.
    """
    least = 1000
    for number in range(last - 1, 0, -1):
        line = lines[number - 1]
        if not _says_something(line):
            continue
        widths = (width_of(line),) if is_item or not _DASHES.match(line) else (_inner(line), width_of(line))
        for each in widths:
            if each < least:
                least = each
                yield each, number


def spaces(count: int) -> str:
    """The number of spaces, in words."""
    return f"{count} space{'' if count == 1 else 's'}"
