"""The floors of the tests: what needs root is not among the units, and what tests share stands in the harness."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
OWN = {"language.py"}
"""A module of `make lint`, not of the tests."""


def test_no_unit_needs_the_kernel() -> None:
    """Without root, all of `unit` runs: none of its tests has a mark that needs it, or uses a fixture that does."""
    needs_root = ("mark.kernel", "mark.docker", "topology_name", "make_namespace", "namespace: Namespace", "Machine.make")
    for path in (TESTS / "unit").rglob("test_*.py"):
        assert not [words for words in needs_root if words in path.read_text()], path


def test_what_tests_share_is_in_the_harness() -> None:
    """Outside of it there are tests and fixtures only."""
    for path in TESTS.rglob("*.py"):
        is_shared = not path.name.startswith("test_") and path.name != "conftest.py" and path.name not in OWN
        assert not is_shared or path.is_relative_to(TESTS / "harness"), path


def test_a_world_has_a_name_of_its_own() -> None:
    """A reader who meets the name of a class that builds a network finds one such class."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("World"):
                found[node.name].append(path)
    assert found
    assert {name: paths for name, paths in found.items() if len(paths) > 1 or name == "World"} == {}
