"""The last dumps of a namespace, remembered by the kernel's own bytes.

A worker that reads a host again and again parses only what has changed. Each reading still requests every dump. So memory
is never used instead of the kernel's answer, only instead of parsing the same bytes again. A value that is equal to the last
one is the same object, which makes comparing two readings cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import is_
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V")
Same = Callable[[Any, Any], bool]
Split = Callable[[Sequence[bytes]], Iterable[memoryview]]
"""The messages of an answer."""


@dataclass(slots=True)
class _Known:
    """The last answer to one request: what each of its messages was parsed into, and the value of the whole."""

    answer: Sequence[bytes]
    names: list[bytes]
    """The keys of the messages, if these differ from the messages; the answer is then not kept."""
    parsed: list[Any]
    value: Any


@dataclass(slots=True)
class DumpMemo:
    """The last dumps of one namespace, by the request."""

    _known: dict[Hashable, _Known] = field(default_factory=dict)

    def answer_to(self, request: Hashable) -> Sequence[bytes]:
        """The last answer; empty if there is none."""
        known = self._known.get(request)
        return known.answer if known else ()

    def parse(
        self,
        request: Hashable,
        answer: Sequence[bytes],
        split: Split,
        parse: Callable[[memoryview], T | None],
        gather: Callable[[list[T]], V],
        *,
        same: Same,
        key: Callable[[memoryview], bytes] | None,
    ) -> V:
        """The value of an answer: its parsed messages, gathered without None.

        `same` compares two parsed messages. `key` is the part of a message that has a meaning, if that is not all of it.
        """
        known = self._known.get(request)
        if known is None:
            known = self._known[request] = _Known((), [], [], gather([]))
        names = list(map(key, split(answer))) if key else []
        if known.names == names if key else known.answer == answer:
            value: V = known.value
            return value
        names = names or list(map(bytes, split(answer)))
        before = dict(zip(known.names or map(bytes, split(known.answer)), known.parsed, strict=True))
        parsed = [before[name] if name in before else parse(one) for name, one in zip(names, split(answer), strict=True)]
        # Some bytes change without meaning, such as the timers of a bridge.
        pairs = zip_longest(known.parsed, parsed)
        parsed = [old if old is not None and same(old, new) else new for old, new in pairs][: len(parsed)]
        is_same = len(parsed) == len(known.parsed) and all(map(is_, known.parsed, parsed))
        found: V = known.value if is_same else gather([one for one in parsed if one is not None])
        self._known[request] = _Known((), names, parsed, found) if key else _Known(answer, [], parsed, found)
        return found
