"""The memory of dumps: what is equal byte for byte is not parsed again, and everything else is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import eq
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.kernel.netlink.memo import DumpMemo, Same

REQUEST = (1, b"")


def read(
    memo: DumpMemo,
    messages: Iterable[bytes],
    parse: Callable[[memoryview], Any] = bytes,
    *,
    request: tuple[int, bytes] = REQUEST,
    same: Same = eq,
    key: Callable[[memoryview], bytes] | None = None,
) -> list[Any]:
    """What the memory gives for a dump with these messages, one in each datagram."""
    return memo.parse(request, tuple(messages), lambda answer: map(memoryview, answer), parse, list, same=same, key=key)


def same(one: tuple[int, bytes] | None, other: tuple[int, bytes] | None) -> bool:
    """Two messages have one meaning if they differ only after the first byte."""
    return one == other if one is None or other is None else one[1][:1] == other[1][:1]


@given(st.lists(st.lists(st.binary(max_size=3), max_size=6), max_size=6))
def test_the_value_is_that_of_a_reading_without_memory(dumps: list[list[bytes]]) -> None:
    """Whatever the kernel answers, one dump after another, the value is what parsing all of it gives; empty ones are None."""
    memo = DumpMemo()
    for dump in dumps:
        assert read(memo, dump, lambda data: bytes(data) or None) == [one for one in dump if one]


def test_only_what_is_new_is_parsed() -> None:
    """An equal dump is the same object and parses nothing; of another one, only the new message is parsed."""
    memo, parsed = DumpMemo(), []

    def parse(data: memoryview) -> tuple[int, bytes]:
        parsed.append(bytes(data))
        return len(parsed), bytes(data)

    def ask(*messages: bytes) -> list[Any]:
        return read(memo, messages, parse, same=same)

    first = ask(b"a1", b"b1")
    assert ask(b"a1", b"b1") is first
    assert parsed == [b"a1", b"b1"]
    second = ask(b"a1", b"b1", b"c1")
    assert parsed == [b"a1", b"b1", b"c1"]
    assert [old is new for old, new in zip(first, second, strict=False)] == [True, True]
    assert ask(b"a2", b"b1", b"c1") is second, "bytes without a meaning"
    assert ask(b"x", b"b1", b"c1") is not second
    assert ask() == []


def test_a_key_leaves_out_what_changes_by_itself() -> None:
    """Messages with the same key are not parsed again, whatever else is in them."""
    memo, parsed = DumpMemo(), []

    def parse(data: memoryview) -> bytes:
        parsed.append(bytes(data))
        return bytes(data[:1])

    def ask(*messages: bytes) -> list[Any]:
        return read(memo, messages, parse, key=lambda data: bytes(data[:1]))

    first = ask(b"a1", b"b1")
    assert ask(b"a2", b"b2") is first
    assert parsed == [b"a1", b"b1"]
    assert ask(b"a3", b"c3") == [b"a", b"c"]
    assert parsed == [b"a1", b"b1", b"c3"]


def test_requests_are_apart() -> None:
    """The answer to one request is never that of another."""
    memo = DumpMemo()
    for number in (1, 2, 1, 2):
        assert read(memo, [bytes([number])], request=(number, b"")) == [bytes([number])]
