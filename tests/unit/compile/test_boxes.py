"""Boxes that overlap are cut into boxes that do not."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile.disjoint import Box, are_apart, cut, disjoint, subtract

RANGES = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda ends: (min(ends), max(ends)))
BOXES: st.SearchStrategy[Box] = st.tuples(RANGES, RANGES)


def points(boxes: list[Box]) -> list[tuple[int, ...]]:
    """Every point, as often as it is in a box."""
    return [point for box in boxes for point in product(*(range(first, last + 1) for first, last in box))]


@given(BOXES, BOXES)
def test_cut(box: Box, other: Box) -> None:
    """The pieces are what is left, each point once."""
    left = points(cut(box, other))
    assert sorted(left) == sorted(set(points([box])) - set(points([other])))


@given(st.lists(BOXES, max_size=5))
def test_disjoint(boxes: list[Box]) -> None:
    """The same points as before, and no two boxes meet."""
    pieces = disjoint(boxes)
    assert set(points(pieces)) == set(points(boxes))
    assert all(are_apart(one, other) for one, other in combinations(pieces, 2))


@given(st.lists(BOXES, max_size=4), st.lists(BOXES, max_size=4))
def test_subtract(boxes: list[Box], others: list[Box]) -> None:
    """What is in none of the others stays."""
    assert set(points(subtract(boxes, others))) == set(points(boxes)) - set(points(others))
