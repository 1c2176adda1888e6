"""The sets of one nftables table, from the bytes of their dumps: their elements as canonical text, and their counters.

The attribute numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.kernel.netfilter.set_values import LIMIT, ElementPart, format_single, parts_of, text_of_name
from reconciler.kernel.netlink.rtnetlink import ATTRIBUTE, attribute, parse_attributes
from reconciler.kinds.firewall.sets import CONCATENATION
from reconciler.state.traffic import TrafficCount

SET_TABLE, SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LEN, SET_DATA_TYPE, SET_DATA_LEN = 1, 2, 3, 4, 5, 6, 7
SET_TIMEOUT, SET_EXPR, SET_EXPRESSIONS = 11, 17, 18
ELEM_LIST_TABLE, ELEM_LIST_SET, ELEM_LIST_ELEMENTS = 1, 2, 3
ELEM_KEY, ELEM_DATA, ELEM_FLAGS, ELEM_EXPR, ELEM_KEY_END = 1, 2, 3, 7, 10
EXPR_NAME, EXPR_DATA = 1, 2
CONNLIMIT_COUNT = 1
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
CONNLIMIT, COUNTER = "connlimit", "counter"
FLAG_ANONYMOUS, FLAG_INTERVAL, FLAG_TIMEOUT = 0x1, 0x4, 0x10
ELEM_INTERVAL_END = 0x1

Element = tuple[str, str, str]
"""Set, key and value."""
_Raw = tuple[bytes, bytes, bytes, int]
"""First and last key, value or expression, and flags of an element."""


@dataclass(frozen=True, slots=True)
class SetInfo:
    """A set or map, but those with a timeout, and the types of its elements."""

    name: str
    flags: int
    key: tuple[ElementPart, ...]
    data: tuple[ElementPart, ...]
    statement: str = ""
    """The name of the expression that each element has: `connlimit`, whose number is the element's value, or `counter`."""

    @property
    def is_anonymous(self) -> bool:
        """Whether it is a part of a rule."""
        return bool(self.flags & FLAG_ANONYMOUS)


def parse_sets(bodies: Iterable[bytes], *, written: bool = False) -> Iterator[SetInfo]:
    """The sets of a table; with `written`, also those that only packets write, which have timeouts."""
    for body in bodies:
        found = {number: bytes(value) for number, value in parse_attributes(memoryview(body))}
        if int.from_bytes(found.get(SET_FLAGS, b"")) & FLAG_TIMEOUT and not written:
            continue

        def number_of(key: int, found: dict[int, bytes] = found) -> int:
            return int.from_bytes(found.get(key, b""))

        statement = dict(parse_attributes(memoryview(found.get(SET_EXPR, b"")))).get(EXPR_NAME, memoryview(b""))
        name = text_of_name(bytes(statement))
        yield SetInfo(
            text_of_name(found[SET_NAME]),
            number_of(SET_FLAGS),
            parts_of(number_of(SET_KEY_TYPE), number_of(SET_KEY_LEN)),
            LIMIT if name == CONNLIMIT else parts_of(number_of(SET_DATA_TYPE), number_of(SET_DATA_LEN)),
            name,
        )


def set_owner(name: str) -> bytes:
    """The attribute by which a dump of elements names their set."""
    return attribute(ELEM_LIST_SET, name.encode() + b"\0")


def parse_set_elements(info: SetInfo, bodies: Iterable[bytes]) -> list[Element]:
    """The elements of a set, without what packets change in them."""
    raw = _gather(info, bodies)
    data = [one[2] for one in raw]
    if info.statement == CONNLIMIT:
        data = [bytes(_parse_expression(one).get(CONNLIMIT_COUNT, b"")) for one in data]
    values = format_single(info.data, data)
    return [(info.name, key, value) for key, value in zip(_keys(info, raw), values, strict=True)]


def parse_counters(info: SetInfo, bodies: Iterable[bytes]) -> Iterator[TrafficCount]:
    """Of a set whose elements have counters, those that packets have met."""
    raw = _gather(info, bodies)
    for key, (_, _, expression, _) in zip(_keys(info, raw), raw, strict=True):
        found = _parse_expression(expression)
        if packets := int.from_bytes(found.get(COUNTER_PACKETS, b"")):
            yield TrafficCount(info.name, key, packets, int.from_bytes(found.get(COUNTER_BYTES, b"")))


def _gather(info: SetInfo, bodies: Iterable[bytes]) -> list[_Raw]:
    raw: list[_Raw] = []
    for body in bodies:
        for number, value in parse_attributes(memoryview(body)):
            if number == ELEM_LIST_ELEMENTS:
                raw += parse_elements(bytes(value))
    return _pair_intervals(raw, info.key[0].size) if info.flags & FLAG_INTERVAL and len(info.key) == 1 else raw


def _keys(info: SetInfo, raw: Sequence[_Raw]) -> list[str]:
    if info.flags & FLAG_INTERVAL:
        return [CONCATENATION.join(part.format(first, last) for part in info.key) for first, last, _, _ in raw]
    return format_single(info.key, [one[0] for one in raw])


def parse_elements(data: bytes) -> Iterator[_Raw]:
    """First and last key, value or expression, and flags of each element in a list of them.

    It is written for speed: a host with many published ports has ten thousand elements, and few other objects.
    """
    offset, total = 0, len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset < total:
        length, _ = unpack(data, offset)
        position, end = offset + 4, offset + length
        first = last = value = b""
        flags = 0
        while position < end:
            size, number = unpack(data, position)
            number &= 0x3FFF
            if number == ELEM_KEY:
                first = data[position + 8 : position + size]  # past the header of the nested NFTA_DATA_VALUE too
            elif number == ELEM_KEY_END:
                last = data[position + 8 : position + size]
            elif number == ELEM_DATA:
                value = data[position + 8 : position + size]
            elif number == ELEM_EXPR:
                value = data[position + 4 : position + size]
            elif number == ELEM_FLAGS:
                flags = int.from_bytes(data[position + 4 : position + size])
            position += (size + 3) & ~3
        yield first, last or first, value, flags
        offset += (length + 3) & ~3


def _parse_expression(expression: bytes) -> dict[int, memoryview]:
    """The attributes of an element's expression, which is `ct count` or `counter`."""
    found = dict(parse_attributes(memoryview(expression)))
    return dict(parse_attributes(found.get(EXPR_DATA, memoryview(b""))))


def _pair_intervals(raw: list[_Raw], size: int) -> list[_Raw]:
    """Intervals of one part, which the kernel stores as a start and the first value outside.

    Ends precede starts of the same value, so that adjacent intervals stay apart. A last interval may have no end.
    """
    paired: list[_Raw] = []
    start: tuple[bytes, bytes] | None = None
    # nft(8) pads a key of two bytes to four.
    trimmed = ((first[:size], data, flags) for first, _, data, flags in raw)
    for first, data, flags in sorted(trimmed, key=lambda one: (one[0], not one[2] & ELEM_INTERVAL_END)):
        if start is not None:
            before = (int.from_bytes(first) - 1).to_bytes(size)
            paired.append((start[0], before, start[1], 0))
        start = None if flags & ELEM_INTERVAL_END else (first, data)
    if start is not None:
        paired.append((start[0], b"\xff" * size, start[1], 0))
    return paired
