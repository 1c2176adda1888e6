"""The parsed messages of the last dumps, remembered by the kernel's own bytes.

A worker that reads a host again and again parses only the messages that have changed. Each reading still requests every
dump. So memory is never used instead of the kernel's answer, only instead of parsing the same bytes again. A value that
is equal to the last one is the same object, which makes comparing two readings cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import is_
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V")
Same = Callable[[Any, Any], bool]


@dataclass(slots=True)
class _Known:
    """The last dump of one kind: its messages, what each was parsed into, and the value of the whole."""

    messages: list[bytes]
    parsed: list[Any]
    value: Any


@dataclass(slots=True)
class DumpMemo:
    """The last dumps of one namespace, by the request."""

    _known: dict[Hashable, _Known] = field(default_factory=dict)

    def parse(
        self,
        request: Hashable,
        messages: Iterable[memoryview],
        parse: Callable[[memoryview], T | None],
        gather: Callable[[list[T]], V],
        same: Same,
    ) -> V:
        """The value of a dump: its parsed messages, gathered without None. `same` compares two parsed messages."""
        raw = [bytes(message) for message in messages]
        known = self._known.get(request)
        if known is None:
            known = _Known([], [], gather([]))
        elif known.messages == raw:
            value: V = known.value
            return value
        before = dict(zip(known.messages, known.parsed, strict=True))
        parsed = [before[one] if one in before else parse(memoryview(one)) for one in raw]
        # Some bytes change without meaning, such as the timers of a bridge.
        pairs = zip_longest(known.parsed, parsed)
        parsed = [old if old is not None and same(old, new) else new for old, new in pairs][: len(parsed)]
        is_same = len(parsed) == len(known.parsed) and all(map(is_, known.parsed, parsed))
        value = known.value if is_same else gather([one for one in parsed if one is not None])
        self._known[request] = _Known(raw, parsed, value)
        return value
