"""Products of ranges that overlap are cut into disjoint intervals."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from reconciler.compile.disjoint import RangeProduct, are_apart, cut, disjoint, subtract

RANGES = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda ends: (min(ends), max(ends)))
CELLS: st.SearchStrategy[RangeProduct] = st.tuples(RANGES, RANGES)


def points(cells: list[RangeProduct]) -> list[tuple[int, ...]]:
    """Every point, as often as it is in a product."""
    return [point for cell in cells for point in product(*(range(first, last + 1) for first, last in cell))]


@given(CELLS, CELLS)
def test_cut(cell: RangeProduct, other: RangeProduct) -> None:
    """The pieces are what is left, each point once."""
    left = points(cut(cell, other))
    assert sorted(left) == sorted(set(points([cell])) - set(points([other])))


@given(st.lists(CELLS, max_size=5))
def test_disjoint(cells: list[RangeProduct]) -> None:
    """The same points as before, and no two products overlap."""
    pieces = disjoint(cells)
    assert set(points(pieces)) == set(points(cells))
    assert all(are_apart(one, other) for one, other in combinations(pieces, 2))


@given(st.lists(CELLS, max_size=4), st.lists(CELLS, max_size=4))
def test_subtract(cells: list[RangeProduct], others: list[RangeProduct]) -> None:
    """What is in none of the others stays."""
    assert set(points(subtract(cells, others))) == set(points(cells)) - set(points(others))
