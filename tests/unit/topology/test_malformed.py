"""Hundreds of broken files: each gives faults with a place and a sentence, or is a topology; never a traceback.

The files are made from the examples. Each node in turn is deleted, doubled, or replaced by something of another kind. Each
line is cut, and bytes are thrown in at random, with a fixed seed, so that a failure can be seen again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.errors import TopologyError
from reconciler.topology.load import parse_topology

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "topology.yaml", *sorted((ROOT / "examples").glob("*.yaml"))]
REPLACEMENTS: tuple[Any, ...] = (
    None, True, 7, -1, 1.5, "", "x", "§ü", "a" * 300, "10.44.0.0/24", "auto", 10**30, "9" * 5000,
    [], {}, [None], ["x", "x"], {"x": "y"}, {"": 1}, [[[]]],
)  # fmt: skip
JUNK = (
    b"\0", b"\xff", b"\xc3", b"\x1b[2J", b"\t", b"*a", b"&a ", b"!!python/object:os.system ", b"<<: ", b"- ", b": ", b"? ", b"|",
    b"{", b"]", b"'", b'"', b"---\n", b"%", b"@", b"\xe2\x80\xa8", b"\r",
)  # fmt: skip
NAMED_BY_USERS = ("hosts", "subnets", "containers", "networks", "env", "sysctls")
"""The keys whose mappings have names of the user's."""
JARGON = ("Input should", "NoneType", "pydantic", "Traceback", "dict", "tuple", "Model")


def fault_report(data: bytes) -> TopologyError | None:
    try:
        parse_topology(data)
    except TopologyError as error:
        return error
    return None


def check(data: bytes) -> int:
    """How many faults the file has; fails where one is not fit to be shown."""
    report = fault_report(data)
    if report is None:
        return 0
    lines = report.source.splitlines() or [""]
    assert report.faults
    for fault in report.faults:
        assert 1 <= fault.position.line <= len(lines), (fault, data)
        assert 1 <= fault.position.column <= len(lines[fault.position.line - 1]) + 1, (fault, data)
        assert fault.message
        assert "\n" not in fault.message
        assert fault.help_text, fault
        for jargon in JARGON:
            assert jargon not in fault.message, fault
    return len(report.faults)


def paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from paths(value, (*here, key))


def forms(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The first path of each form: names that a user has chosen are alike, and so are the items of a list."""
    met = set()
    for path in paths(tree):
        node, form = tree, list[str]()
        for above, part in zip(("", *path), path, strict=False):
            node = node[part]
            form.append("item" if isinstance(part, int) else "name" if above in NAMED_BY_USERS else part)
        if (*form, type(node)) not in met:
            met.add((*form, type(node)))
            yield path


def changed(text: str, path: tuple[Any, ...], kind: str, replacement: Any = None) -> bytes:
    """The file with the node at `path` deleted, doubled, renamed or replaced."""
    tree = yaml.load(text, yaml.BaseLoader)
    tree["version"] = 1
    owner = tree
    for part in path[:-1]:
        owner = owner[part]
    last = path[-1]
    if kind == "delete":
        del owner[last]
    elif kind == "replace":
        owner[last] = replacement
    elif kind == "rename":
        value = owner.pop(last)
        owner.update({str(last) + "x": value}) if isinstance(owner, dict) else owner.append({"x": value})
    elif isinstance(owner, list):
        owner.append(owner[last])
    else:
        owner[str(last) + "-2"] = owner[last]
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True).encode()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nodes_changed(file: Path) -> None:
    """A node of each form in a good file deleted, doubled, renamed and replaced by everything else: thousands of files."""
    text = file.read_text()
    tree = yaml.load(text, yaml.BaseLoader)
    chance = random.Random(file.name)
    tried = faulty = 0
    for path in forms(tree):
        cases: list[tuple[str, Any]] = [("delete", None), ("double", None), ("rename", None)]
        cases += [("replace", replacement) for replacement in chance.sample(REPLACEMENTS, 5)]
        for kind, replacement in cases:
            tried += 1
            faulty += check(changed(text, path, kind, replacement)) > 0
    assert tried >= 80
    assert faulty > tried / 2, "most of these are no topologies"


def test_replaced_by_everything() -> None:
    """A node of each form in the top-level file, replaced by each of the replacements."""
    text = FILES[0].read_text()
    tree = yaml.load(text, yaml.BaseLoader)
    tried = [check(changed(text, path, "replace", replacement)) for path in forms(tree) for replacement in REPLACEMENTS]
    assert len(tried) >= 600


def test_junk_thrown_in() -> None:
    """Junk at random places of the file as it is written."""
    data = FILES[0].read_bytes()
    chance = random.Random(7)
    found = 0
    for _ in range(400):
        place = chance.randrange(len(data))
        found += check(data[:place] + chance.choice(JUNK) + data[place + chance.choice((0, 0, 1, 20)) :]) > 0
    assert found > 150


def test_cut_short() -> None:
    """The file cut off after each of its lines, and within them."""
    data = FILES[0].read_bytes()
    places = [place for place, byte in enumerate(data) if byte == 10]
    for place in places:
        check(data[:place])
        check(data[: place - 3])
    assert len(places) > 50


def test_pure_noise() -> None:
    """Bytes without any sense."""
    chance = random.Random(11)
    for length in range(200):
        assert check(chance.randbytes(length)) >= 1
