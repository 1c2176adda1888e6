"""A line in a wrong column: the error names that line and the column it is meant to start in, wherever YAML notices it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from reconciler.errors import Fault, TopologyError
from reconciler.topology.load import parse_topology
from reconciler.topology.yaml import parse_document
from tests.harness.topologies.faulty import BASE, HEAD, HOST

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "topology.yaml", *sorted((ROOT / "examples").glob("*.yaml"))]
SHIFTS = (-3, -2, -1, 1, 2, 3)


def faults_of(text: str) -> list[Fault]:
    try:
        parse_topology(text.encode())
    except TopologyError as error:
        return list(error.faults)
    return []


def shifted(text: str) -> Iterator[tuple[int, int, str]]:
    """Every line of the file moved by every shift: its number, the column it comes from, and the file."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        width = len(line) - len(line.lstrip())
        for shift in SHIFTS if line.strip() and not line.lstrip().startswith("#") else ():
            if width + shift >= 0:
                moved = " " * (width + shift) + line.lstrip()
                yield number, width, "\n".join((*lines[: number - 1], moved, *lines[number:])) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_line_shifted(file: Path) -> None:
    """One fault, that names the line and the column it had, or no fault since the file says what it said.

    Every fifth of the cases: a line has up to six, so each line is moved, and each shift comes in turn.
    """
    text = file.read_text()
    tree = parse_document(text.encode())[0].tree
    told = 0
    for number, width, wrong in islice(shifted(text), 0, None, 5):
        faults = faults_of(wrong)
        if not faults:
            assert parse_document(wrong.encode())[0].tree == tree, f"line {number} says something else, and is accepted"
            continue
        (fault,) = faults
        words = f"{fault.message}; {fault.help_text}"
        assert fault.position.line == number or re.search(rf"\bline {number}\b", words), (number, fault)
        assert re.search(rf"\bby {width}\b", fault.help_text), (number, width, fault)
        told += 1
    assert told >= 5


NAMED = {
    "the host of a mapping": (
        BASE + "containers:\nweb:\n    host: alpha\n    networks: {front: auto}\n  db:\n    networks: {front: auto}\n",
        (6, 1, "line 6 is indented by 0 spaces, and line 9 by 2", "by 2 spaces if it is on the level of line 9"),
    ),
    "a line that only belongs elsewhere": (
        BASE + "containers:\n  web:\n    host: alpha\n  networks: {front: auto}\n",
        (8, 3, "line 8 is indented by 2 spaces, and line 7 by 4", "by 4 spaces"),
    ),
    "a first line": (" " + HEAD + HOST, (1, 2, "line 1 is indented by 1 space, and line 2 by 0", "by 0 spaces")),
    "two lines": (
        BASE + "containers:\n  web:\n    networks:\n      front: auto\n     ports: [80]\n   host: alpha\n",
        (9, 6, "line 9 is indented by 5 spaces, and line 8 by 6", "on the level of line 8, or by 4 as line 7"),
    ),
    "a key without a colon above": (
        BASE + "containers:\n  web\n    host: alpha\n", (6, 5, "`web` has none", "write web:")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), NAMED.values(), ids=NAMED.keys())
def test_named(text: str, said: tuple[int, int, str, str]) -> None:
    """The line, its column, a sibling's, and the remedy."""
    (fault,) = faults_of(text)
    line, column, message, help_text = said
    assert (fault.position.line, fault.position.column) == (line, column), fault
    assert message in fault.message
    assert help_text in fault.help_text


def test_other_faults_stay() -> None:
    """A fault that no column cures is reported beside what a wrong column causes."""
    faults = faults_of(BASE + "containers:\n  web:\n    host: alpha\n  networks: {front: 10.9.9.9}\n  db: {hots: alpha}\n")
    assert any("hots" in fault.message for fault in faults)
    assert not any("indented" in fault.message for fault in faults)


def test_the_search_is_bounded() -> None:
    """A large file with a line in a wrong column is answered soon."""
    many = "".join(f"  w{number}:\n    networks: {{front: auto}}\n" for number in range(1000))
    base = BASE.replace("10.44.0.0/24", "10.44.0.0/16")
    began = time.monotonic()
    (fault,) = faults_of(base + "containers:\n" + many + "  web:\n    networks: {front: auto}\n   host: alpha\n")
    assert time.monotonic() - began < 20
    assert fault.position.line == 2008
    assert "by 4 spaces" in fault.help_text
