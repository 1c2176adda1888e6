"""The memory of dumps: what is equal byte for byte is not parsed again, and everything else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.kernel.netlink.memo import DumpMemo

REQUEST = (1, b"")


def same(one: tuple[int, bytes] | None, other: tuple[int, bytes] | None) -> bool:
    """Two messages have one meaning if they differ only after the first byte."""
    return one == other if one is None or other is None else one[1][:1] == other[1][:1]


@given(st.lists(st.lists(st.binary(max_size=3), max_size=6), max_size=6))
def test_the_value_is_that_of_a_reading_without_memory(dumps: list[list[bytes]]) -> None:
    """Whatever the kernel answers, one dump after another, the value is what parsing all of it gives; empty ones are None."""
    memo = DumpMemo()
    for dump in dumps:
        found = memo.parse(REQUEST, map(memoryview, dump), lambda data: bytes(data) or None, tuple, lambda a, b: a == b)
        assert found == tuple(one for one in dump if one)


def test_only_what_is_new_is_parsed() -> None:
    """An equal dump is the same object and parses nothing; of another one, only the new message is parsed."""
    memo, parsed = DumpMemo(), []

    def parse(data: memoryview) -> tuple[int, bytes]:
        parsed.append(bytes(data))
        return len(parsed), bytes(data)

    def read(*messages: bytes) -> list[tuple[int, bytes]]:
        return memo.parse(REQUEST, map(memoryview, messages), parse, list, same)

    first = read(b"a1", b"b1")
    assert read(b"a1", b"b1") is first
    assert parsed == [b"a1", b"b1"]
    second = read(b"a1", b"b1", b"c1")
    assert parsed == [b"a1", b"b1", b"c1"]
    assert [old is new for old, new in zip(first, second, strict=False)] == [True, True]
    assert read(b"a2", b"b1", b"c1") is second, "bytes without a meaning"
    assert read(b"x", b"b1", b"c1") is not second
    assert read() == []


def test_requests_are_apart() -> None:
    """The answer to one request is never that of another."""
    memo = DumpMemo()
    for number in (1, 2, 1, 2):
        messages = [memoryview(bytes([number]))]
        assert memo.parse((number, b""), messages, bytes, tuple, lambda a, b: a == b) == (bytes([number]),)
