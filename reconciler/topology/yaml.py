"""YAML with positions: text in, plain values out, and for every value its line and column.

`load` calls `parse_document`. It reads the events of libyaml's parser: that is fast, and gives the position of every
key and value. Scalars are resolved by the core schema of YAML 1.2 (section 10.3.2), so that `12:34:56:11:22:33`,
`22:22`, `on` and `1_000` are the text they look like. A topology does not need some features, and they make a file hard
to trust. They are faults: aliases, tags, merge keys, duplicate keys, several documents, deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from reconciler.errors import Fault, Position
from reconciler.topology.indentation import explain_indentation
from reconciler.topology.syntax import explain
from reconciler.topology.types import Path

Tree = Any
"""The values of a document: str, int, float, bool, None, a tuple of these, or a dict with str keys."""

DEPTH_MAX = 20
"""The format nests 6 deep; deeper nesting is a mistake or an attack."""

SIZE_MAX_BYTES = 4 * 1024 * 1024
"""Ten thousand containers need about a quarter of it."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_START = frozenset("+-.0123456789")
INT_DIGITS_MAX = 100
"""Longer runs of digits stay text: no number of a topology is that long, and int() rejects more than 4,300 digits."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML allows in no file (YAML 1.2, production 1, c-printable)."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Characters that libyaml counts as the end of a line."""

STARTER = """\
version: 1
name: first
hosts: {here: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers: {one: {networks: {front: auto}}, two: {networks: {front: auto}}}
"""
"""A whole topology in five lines, for the help of an empty file. `netctl init` writes it with comments (cli.init)."""

_START_HELP = f"`netctl init` writes a file to start from; this is a whole one:\n{STARTER}"


@dataclass(slots=True)
class Document:
    """One parsed file: its values, their positions, and the faults found while reading.

    `positions` holds the position where a user looks for each value: that of a scalar or a list item, or of a
    collection's key. `keys` holds the positions of the mapping keys. `broken` are the paths whose values could not be
    read.
    """

    tree: Tree = None
    positions: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    key_faults: dict[Path, Fault] = field(default_factory=dict)
    """Faults of keys that are no text, by the paths of their values."""
    broken: set[Path] = field(default_factory=set)
    renamed: list[Position] = field(default_factory=list)
    """The positions of keys with an old name (`topology.old_names`)."""
    readable: bool = True
    """False if the text is no YAML, so that there is no tree to check."""
    stop: Position | None = None
    """The position where libyaml stopped, in a text that is no YAML."""
    explained: bool = False
    """The text itself shows why libyaml stopped there, so no other reason is searched."""


class _StopReadingError(Exception):
    """The rest of the document is not worth reading; the fault has the reason."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def parse_document(data: bytes) -> tuple[Document, str]:
    """Parse a file's bytes. Returns the document, and the text (damaged bytes replaced) for messages with faulty lines.

    The content of a file never raises an exception: all its faults are in `Document.faults`.
    """
    text, fault = _decode(data)
    document = Document()
    if fault is None:
        try:
            _Reader(text, document).read()
        except _StopReadingError as stop:
            fault = stop.fault
        except yaml.MarkedYAMLError as error:
            fault = _syntax_fault(error, text, document)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            fault = Fault(Position(1, 1), f"this is not YAML that can be read: {_first_line(error)}", _START_HELP)
    if fault is not None:
        document.faults.append(fault)
        document.readable = False
    return document, text


def resolve_scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar by the core schema of YAML 1.2: `010` is 10, `0o10` is 8, `yes` is text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START or len(text) > INT_DIGITS_MAX:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan")
                     if text[-1].isalpha() else text)  # fmt: skip
    return text


# --- bytes to text ----------------------------------------------------------------------------------------------------


def _decode(data: bytes) -> tuple[str, Fault | None]:
    if len(data) > SIZE_MAX_BYTES:
        head = data[:4096].decode("utf-8", "replace")
        megabytes = SIZE_MAX_BYTES // 1024 // 1024
        return head, Fault(
            Position(1, 1), f"the file is larger than {megabytes} MiB", "give many containers of one kind as `replicas: N`"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), Fault(Position(1, 1), "the file is UTF-16, not UTF-8", "save it as UTF-8")
    try:
        text, damage = data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        text = data[: error.start].decode("utf-8-sig")
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        damage = Fault(_position_after(text), message, "save the file as UTF-8 text")
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        message = f"the character U+{ord(unprintable[0]):04X} has no place in a text file"
        help_text = 'remove it; within double quotes write it as an escape such as "\\x1b"'
        damage = Fault(_position_after(text[: unprintable.start()]), message, help_text)
    return (data.decode("utf-8", "replace"), damage) if damage else (text, None)


def _position_after(text: str) -> Position:
    lines = _BREAK.split(text)
    return Position(len(lines), len(lines[-1]) + 1)


# --- syntax errors ----------------------------------------------------------------------------------------------------

_SYNTAX_HELP = (
    ("cannot start any token", "put the value in quotes"),
    ("mapping values are not allowed", "put a value that has `: ` in it in quotes, and start keys of one mapping in one column"),
    ("did not find expected key", "check the indentation: keys of one mapping start in the same column"),
    ("did not find expected ',' or ']'", "close the list with `]`, and put a comma between its items"),
    ("did not find expected ',' or '}'", "close the mapping with `}`, and put a comma between its entries"),
    ("did not find expected '-' indicator", "check the indentation: items of one list start in the same column"),
    ("found unexpected end of stream", "a quote, bracket or brace is opened and never closed"),
    ("could not find expected ':'", "a key is followed by a colon and a space: `key: value`"),
)


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, document: Document) -> Fault:
    """Libyaml's error as a fault: its position may be after the last line, a fault's never is."""
    lines = text.splitlines() or [""]
    mark = error.problem_mark or error.context_mark
    position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
    if position.line > len(lines):
        position = Position(len(lines), len(lines[-1]) + 1)
    document.stop = position
    if (fault := explain(text, position)) is not None:
        document.explained = True
        return fault
    if (fault := explain_indentation(lines, position)) is not None:
        return fault
    problem = error.problem or _first_line(error)
    message = f"this is not valid YAML: {problem}"
    if error.context:
        message += f" ({error.context})"
    help_text = next(
        (help_text for part, help_text in _SYNTAX_HELP if part in problem), "check quotes, brackets and indentation here"
    )
    return Fault(position, message, help_text)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


# --- events to values -------------------------------------------------------------------------------------------------


class _Reader:
    """Walks the events of one document, depth first."""

    def __init__(self, text: str, document: Document) -> None:
        self.text = text
        self.loader = yaml.CSafeLoader(text)
        self.document = document

    def read(self) -> None:
        """Fill the document; stop at a fault that makes the rest meaningless."""
        event = self._next(StreamStartEvent)
        event = self.loader.get_event()
        if type(event) is StreamEndEvent:
            raise _StopReadingError(Fault(Position(1, 1), "the file is empty", _START_HELP))
        self.document.tree = self._value(self.loader.get_event(), (), 0)
        if self.document.tree is None and not self.document.faults:
            raise _StopReadingError(Fault(Position(1, 1), "the file is empty", _START_HELP))
        self._next(DocumentEndEvent)
        event = self.loader.get_event()
        if type(event) is DocumentStartEvent:
            self._fault(event, "the file holds more than one document", "remove the `---`: one file is one topology")

    def _next(self, kind: type) -> Any:
        event = self.loader.get_event()
        assert type(event) is kind, f"libyaml gave {event} for {kind}"
        return event

    def _fault(self, event: Any, message: str, help_text: str) -> None:
        self.document.faults.append(Fault(_position(event), message, help_text))

    def _value(self, event: Any, path: Path, depth: int) -> Tree:
        """The value that starts with `event`; its end has been read on return."""
        if path not in self.document.positions:
            self.document.positions[path] = _position(event)
        kind = type(event)
        if kind is AliasEvent:
            self._fault(
                event,
                f"the alias `*{event.anchor}` is refused: a topology says each thing where it stands",
                "write the value out here",
            )
            self.document.broken.add(path)
            return None
        if event.anchor is not None:
            self._fault(
                event, f"the anchor `&{event.anchor}` is refused: a topology has no aliases that could use it", "remove it"
            )
        if event.tag is not None:
            self._fault(
                event,
                f"the tag `{event.tag}` is refused: the type of a value follows from how it is written",
                "remove it; quotes make a value text",
            )
        if kind is ScalarEvent:
            return self._scalar(event, path)
        if depth == DEPTH_MAX:
            raise _StopReadingError(
                Fault(
                    _position(event),
                    f"the file is nested more than {DEPTH_MAX} deep",
                    "a topology needs 6 levels; check the brackets",
                )
            )
        return self._sequence(path, depth) if kind is SequenceStartEvent else self._mapping(path, depth)

    def _scalar(self, event: Any, path: Path) -> Tree:
        text: str = event.value
        if not event.style:
            return resolve_scalar(text)
        if "\0" in text:
            self._fault(event, "a NUL character cannot be part of a value", "remove the `\\0`")
            self.document.broken.add(path)
        return text

    def _sequence(self, path: Path, depth: int) -> tuple[Tree, ...]:
        items: list[Tree] = []
        while type(event := self.loader.get_event()) is not SequenceEndEvent:
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return tuple(items)

    def _mapping(self, path: Path, depth: int) -> dict[str, Tree]:
        tree: dict[str, Tree] = {}
        event: Any
        while type(event := self.loader.get_event()) is not MappingEndEvent:
            key = self._key(event, depth)
            value_event: Any = self.loader.get_event()
            if key is None or key in tree:
                if key is None:
                    self.document.broken.add(path)
                else:
                    first = self.document.keys[*path, key]
                    self._fault(
                        event,
                        f"the key `{key}` is given twice; it stands in line {first.line} already",
                        "remove one, or merge the two",
                    )
                self._skip(value_event, depth)
                continue
            here = (*path, key)
            self.document.keys[here] = position = _position(event)
            if not event.style and not isinstance(value := resolve_scalar(key), str):
                what = "true or false" if isinstance(value, bool) else "a number"
                self.document.key_faults[here] = Fault(
                    position, f"the key `{key}` is read as {what}", f'write it in quotes: "{key}"'
                )
            if type(value_event) is not ScalarEvent or not (value_event.value or value_event.style):
                self.document.positions[here] = position
            tree[key] = self._value(value_event, here, depth + 1)
        return tree

    def _skip(self, event: Any, depth: int) -> None:
        """Read a value outside of the tree, for the faults within it."""
        aside, self.document = self.document, Document(faults=self.document.faults)
        self._value(event, (), depth + 1)
        self.document = aside

    def _key(self, event: Any, depth: int) -> str | None:
        """A mapping's key, or None (with a fault) if it is no key."""
        if type(event) is not ScalarEvent:
            if self.text.startswith("{{", event.start_mark.index - 1):
                self._fault(event, "no variables are filled in: `{{` opens two mappings", "write the value itself")
            else:
                self._fault(event, "a key must be a plain word", "write `name: value`")
            if type(event) is not AliasEvent:
                self._skip(event, depth)
            return None
        if event.anchor is not None or event.tag is not None:
            self._fault(event, "anchors and tags are refused", "write the key alone")
        key: str = event.value
        if event.style:
            return key
        if key == "<<":
            self._fault(
                event, "merge keys (`<<`) are refused: a topology says each thing where it stands", "write the keys out here"
            )
            return None
        if resolve_scalar(key) is None:
            self._fault(event, "a key is missing before the `:`", "write `name: value`")
            return None
        return key


def _position(event: Any) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1)
