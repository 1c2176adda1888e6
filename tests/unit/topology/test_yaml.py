"""YAML is read by the core schema of YAML 1.2, with the place of every key and value."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Position
from reconciler.topology.yaml import DEPTH_MAX, SIZE_MAX_BYTES, parse_document, resolve_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:34:56:11:22:33", "12:34:56:11:22:33"), ("22:22", "22:22"), ("1_000", "1_000"), ("2001-12-14", "2001-12-14"),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("=", "="), ("10.44.0.0/24", "10.44.0.0/24"),
        ("fd00::1", "fd00::1"), ("0b11", "0b11"), ("1.2.3", "1.2.3"), ("-", "-"), (".", "."), ("+", "+"), ("0x", "0x"),
        ("010", 10), ("0o10", 8), ("0x10", 16), ("-7", -7), ("+7", 7), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0),
        (".inf", float("inf")), ("-.INF", float("-inf")), ("true", True), ("False", False), ("tRUE", "tRUE"),
        ("null", None), ("~", None), ("", None), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    """A plain scalar is what YAML 1.2 says it is, whatever YAML 1.1 said."""
    resolved = resolve_scalar(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_quotes_make_text() -> None:
    """What stands in quotes is text, and so is a block scalar."""
    document, _ = parse_document(b"a: '1'\nb: \"true\"\nc: |\n  7\n")
    assert document.tree == {"a": "1", "b": "true", "c": "7\n"}


def test_positions() -> None:
    """A scalar or an item stands where it starts, a collection at its key; both count from 1, in characters."""
    document, _ = parse_document("é: ü\nhosts:\n  alpha: {connect: lab}\nlist:\n  - x\n  - y: z\n".encode())
    assert document.positions["é",] == Position(1, 4)
    assert document.positions["hosts",] == Position(2, 1)
    assert document.positions["hosts", "alpha"] == Position(3, 3)
    assert document.positions["hosts", "alpha", "connect"] == Position(3, 20)
    assert document.positions["list", 0] == Position(5, 5)
    assert document.positions["list", 1, "y"] == Position(6, 8)
    assert document.keys["list", 1, "y"] == Position(6, 5)


@pytest.mark.parametrize(
    ("data", "position", "fragment"),
    [
        (b"a: \xff\n", (1, 4), "the byte 0xff is not UTF-8"),
        (b"a: b\nc: \xc3", (2, 4), "is not UTF-8"),
        ("a: b".encode("utf-16"), (1, 1), "UTF-16"),
        (b"a: b\n\0", (2, 1), "U+0000"),
        (b"a: \x1b[31m", (1, 4), "U+001B"),
        (b"[" * 100_000, (1, DEPTH_MAX + 1), "nested more than"),
        (b"- " * 100_000, (1, 2 * DEPTH_MAX + 1), "nested more than"),
        (b"{a: " * 100_000, (1, 4 * DEPTH_MAX + 1), "nested more than"),
        (b"a" * (SIZE_MAX_BYTES + 1), (1, 1), "larger than 4 MiB"),
        (b'a: "\\ud800"', (1, 7), "not valid YAML"),
    ],
)
def test_unreadable(data: bytes, position: tuple[int, int], fragment: str) -> None:
    """What is no text, or too much of it, is one fault at its place."""
    document, _ = parse_document(data)
    (fault,) = document.faults
    assert not document.readable
    assert (fault.position.line, fault.position.column) == position
    assert fragment in fault.message
    assert fault.help_text


def test_bomb_is_not_built() -> None:
    """A file of aliases to aliases is refused before anything grows."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 12)]
    document, _ = parse_document("\n".join(lines).encode())
    assert len(document.positions) < 500
    assert all("refused" in fault.message for fault in document.faults)


def test_byte_order_mark_is_no_character() -> None:
    """A UTF-8 byte order mark, which some editors write, moves nothing."""
    document, source = parse_document(b"\xef\xbb\xbfa: b\n")
    assert document.tree == {"a": "b"}
    assert document.positions["a",] == Position(1, 4)
    assert source == "a: b\n"


TREES = st.recursive(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz-", min_size=1, max_size=6), inner, max_size=3),
    max_leaves=12,
)


def listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [listed(item) for item in value]
    return {key: listed(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(TREES)
def test_reads_what_was_written(tree: Any) -> None:
    """What PyYAML writes (with every text in quotes) is read back as it was, and every value has a place."""
    text = yaml.safe_dump(tree, allow_unicode=True, default_style='"')
    document, _ = parse_document(text.encode())
    assert not document.faults
    assert listed(document.tree) == tree


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """No bytes make the parser raise, and every fault stands inside the text."""
    document, source = parse_document(data)
    lines = source.splitlines() or [""]
    for fault in document.faults:
        assert 1 <= fault.position.line <= len(lines) + 1
        assert fault.position.column >= 1
