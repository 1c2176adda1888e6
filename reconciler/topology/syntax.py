"""The reason why a text is not YAML, reported at the line of the mistake: libyaml often stops only at the line after.

Each sign of a mistake is searched in the lines up to the position where libyaml stopped; `explain` returns the first
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from reconciler.errors import Fault, Position
from reconciler.topology.dashes import COMMENT, find_lost_dash, find_wrong_dash

Sign = Callable[[Sequence[str], Position], Fault | None]

_ODD_INDENT = re.compile(r"[ ]*(?P<odd>[^\S ])")
_OPENER = re.compile(r"(?:^ *(?:- +)*|(?<=[:?-]) +|(?<=[\[{,]) *)(?P<quote>[\"'])")
_QUOTED = {'"': re.compile(r'"(?:[^"\\]|\\.)*"'), "'": re.compile(r"'(?:[^']|'')*'")}
_GLUED = re.compile(r"^ *(?:- +)*(?P<text>(?P<key>[a-z_]*[g-z][a-z_]*):(?P<value>[\[{].*|[^\s/:][^:]*(?::\S+)?))$")
"""A key without a space after its colon. IPv6 addresses (hexadecimal digits only) and paths look similar otherwise."""
ODD_SPACES = re.compile("[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]")
"""Characters that look like a space, or like nothing, and that YAML reads as letters."""
_BARE_IPV6 = re.compile(r"(?<![\w:.\"'])(?:::[0-9a-fA-F:.]*(?:/\d+)?|[0-9a-fA-F]+:[0-9a-fA-F:]*:)(?=[\s,\]}]|$)")
_BRACKET_PORT = re.compile(r"(?<![\w\"'])\[[0-9a-fA-F:.]+\]:[0-9:/a-z-]+")
_VARIABLE = re.compile(r"\$\{.*?\}|\{\{.*?\}\}")
_NO_COLON = re.compile(
    r"^ *(?:- +)*(?P<text>(?P<key>[a-z_][\w-]*)(?: *= *| +)(?P<value>[^\s:{\[\"'](?:[^:]|:(?=\S))*|[{\[\"'].*[}\]\"']))$"
)
_TWO_KEYS = re.compile(r"^ *(?:- +)*(?P<key>[\w.-]+): +(?P<rest>(?P<inner>[A-Za-z_-]+): +\S.*)$")
_PAIRS = {"[": "]", "{": "}"}


def explain(text: str, stop: Position) -> Fault | None:
    """The mistake that made libyaml stop there; None if no sign of one is found."""
    lines = text.splitlines()
    return next((fault for sign in _SIGNS if (fault := sign(lines, stop))), None)


def _odd_indentation(lines: Sequence[str], stop: Position) -> Fault | None:
    for number, line in enumerate(lines[: stop.line], 1):
        found = _ODD_INDENT.match(line)
        if found and line.strip():
            odd = found["odd"]
            what = "a tab" if odd == "\t" else f"U+{ord(odd):04X}, which only looks like a space"
            return Fault(
                Position(number, found.end()), f"line {number} is indented with {what}", "indent with plain spaces, as YAML asks"
            )
    return None


def _open_quote(lines: Sequence[str], stop: Position) -> Fault | None:
    text = "\n".join(lines)
    offset = 0
    for number, line in enumerate(lines[: stop.line], 1):
        at = 0
        while found := _OPENER.search(line, at):
            start = found.start("quote")
            if COMMENT.search(line, 0, start):
                break
            scalar = _QUOTED[found["quote"]].match(text, offset + start)
            if scalar is None or not re.match(r"[\s,\]}:]|$", text[scalar.end() :]):
                sign = found["quote"]
                return Fault(
                    Position(number, start + 1),
                    f"the quote opened in line {number} is not closed",
                    f"close it with {sign} at the end of the value",
                )
            at = scalar.end() - offset
        offset += len(line) + 1
    return None


def _odd_space(lines: Sequence[str], stop: Position) -> Fault | None:
    for number, line in enumerate(lines[: stop.line], 1):
        if found := ODD_SPACES.search(COMMENT.sub("", line)):
            message = f"line {number} has U+{ord(found[0]):04X}, which only looks like a space"
            return Fault(Position(number, found.start() + 1), message, "replace it with a plain space")
    return None


def _glued_colon(lines: Sequence[str], stop: Position) -> Fault | None:
    for number in _lines_back(lines, stop.line):
        found = _GLUED.match(COMMENT.sub("", lines[number - 1]))
        if found:
            return Fault(
                Position(number, found.end("key") + 1),
                f"a colon needs a space after it: `{found['text']}`",
                f"write `{found['key']}: {found['value']}`",
            )
    return None


def _lines_back(lines: Sequence[str], last: int) -> Iterator[int]:
    """The last line with content, and the one before it."""
    filled = (number for number in range(min(last, len(lines)), 0, -1) if COMMENT.sub("", lines[number - 1]).strip())
    for _, number in zip(range(2), filled, strict=False):
        yield number


def _no_colon(lines: Sequence[str], stop: Position) -> Fault | None:
    for number in _lines_back(lines, stop.line):
        if found := _NO_COLON.match(COMMENT.sub("", lines[number - 1])):
            position = Position(number, found.end("key") + 1)
            message = f"a key is followed by a colon: `{found['text']}`"
            return Fault(position, message, f"write `{found['key']}: {found['value']}`")
    return None


def _backtick(lines: Sequence[str], stop: Position) -> Fault | None:
    line = lines[stop.line - 1] if stop.line <= len(lines) else ""
    if line[stop.column - 1 : stop.column] == "`":
        return Fault(stop, "a backtick is not one of YAML's quotes", "write \" or ' in its place")
    return None


def _two_keys(lines: Sequence[str], stop: Position) -> Fault | None:
    line = lines[min(stop.line, len(lines)) - 1] if lines else ""
    if found := _TWO_KEYS.match(COMMENT.sub("", line)):
        message = f"two keys stand in one line, `{found['key']}` and `{found['inner']}`"
        return Fault(
            Position(stop.line, found.start("inner") + 1),
            message,
            f"write `{found['key']}: {{{found['rest']}}}`, or the value in quotes",
        )
    return None


def _unquoted(lines: Sequence[str], stop: Position) -> Fault | None:
    """Text in which YAML finds indicators unless it is quoted."""
    line = COMMENT.sub("", lines[min(stop.line, len(lines)) - 1]) if lines else ""
    for pattern, what in (
        (_BRACKET_PORT, "an IPv6 address in brackets needs quotes"),
        (_BARE_IPV6, "an IPv6 address that starts or ends with a colon needs quotes"),
    ):
        if found := pattern.search(line):
            return Fault(Position(stop.line, found.start() + 1), f"{what}: `{found[0]}`", f'put it in quotes: "{found[0]}"')
    if found := _VARIABLE.search(line):
        message = f"no variables are filled in: `{found[0]}`"
        help_text = "write the value itself; in `env` and `command`, put the whole text in quotes"
        return Fault(Position(stop.line, found.start() + 1), message, help_text)
    return None


def _open_bracket(lines: Sequence[str], stop: Position) -> Fault | None:
    """The first bracket that is open at the position where libyaml stopped."""
    open_ones: list[tuple[str, Position]] = []
    for number, line in enumerate(lines[: stop.line], 1):
        for column, sign in _signs_of(line):
            if number == stop.line and column > stop.column:
                break
            if sign in _PAIRS:
                open_ones.append((sign, Position(number, column)))
            elif open_ones:
                open_ones.pop()
            else:
                return Fault(Position(number, column), f"the `{sign}` closes nothing", "remove it")
    if not open_ones:
        return None
    # A mistake within a bracket of one line is in that line. If a bracket is still open in a later one, it is the
    # mistake.
    sign, position = open_ones[-1]
    if position.line == stop.line and stop.column <= len(lines[stop.line - 1]):
        return None
    what = "list" if sign == "[" else "mapping"
    return Fault(position, f"the `{sign}` in line {position.line} is not closed", f"close the {what} with `{_PAIRS[sign]}`")


def _signs_of(line: str) -> Iterator[tuple[int, str]]:
    """The brackets of a line outside of quotes and comments, by their columns; within a plain word they are text."""
    bare = COMMENT.sub("", re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'", lambda found: "_" * len(found[0]), line))
    depth = 0
    for column, sign in enumerate(bare, 1):
        if sign in "[{" and (depth or not bare[: column - 1].strip() or bare[column - 2] in " [{,"):
            depth += 1
            yield column, sign
        elif sign in "]}":
            depth -= 1
            yield column, sign


def _key_above(lines: Sequence[str], stop: Position) -> Fault | None:
    """A word alone, with a deeper line below it: a key without its colon."""
    filled = [(number, line) for number, each in enumerate(lines[: stop.line], 1) if (line := COMMENT.sub("", each)).strip()]
    if len(filled) < 2 or filled[-1][0] != stop.line:
        return None
    (number, above), (_, below) = filled[-2:]
    key = re.fullmatch(r" *(?:- +)?([A-Za-z][\w-]*) *", above)
    if key is None or len(below) - len(below.lstrip()) <= len(above) - len(above.lstrip()):
        return None
    message = f"a key is followed by a colon: `{key[1]}` has none, and what is below it belongs to it"
    return Fault(Position(number, key.end(1)), message, f"write {key[1]}:")


_SIGNS: tuple[Sign, ...] = (
    _odd_indentation,
    _open_quote,
    _odd_space,
    find_wrong_dash,
    _glued_colon,
    find_lost_dash,
    _two_keys,
    _no_colon,
    _backtick,
    _unquoted,
    _open_bracket,
    _key_above,
)
