"""Boxes: products of ranges, such as "these sources, these targets, TCP, ports 80 to 90", and how to keep them from overlapping.

The kernel refuses an element of an interval set that overlaps another, and two policies may well speak of the same packets (a
container, and the subnet that it is in). So each policy adds only what none before it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

Range = tuple[int, int]
"""First and last, both included."""
RangeProduct = tuple[Range, ...]


def range_of(block: str) -> Range:
    """The first and the last address of a block, as numbers."""
    network = ip_network(block)
    return int(network.network_address), int(network.broadcast_address)


def are_apart(product: RangeProduct, other: RangeProduct) -> bool:
    """Whether no point is in both."""
    return any(mine[0] > yours[1] or yours[0] > mine[1] for mine, yours in zip(product, other, strict=True))


def cut(product: RangeProduct, other: RangeProduct) -> list[RangeProduct]:
    """What of `product` is not in `other`, in pieces that do not overlap."""
    if are_apart(product, other):
        return [product]
    pieces = []
    for axis, ((first, last), (first_other, last_other)) in enumerate(zip(product, other, strict=True)):
        if first < first_other:
            pieces.append((*product[:axis], (first, first_other - 1), *product[axis + 1 :]))
        if last > last_other:
            pieces.append((*product[:axis], (last_other + 1, last), *product[axis + 1 :]))
        # From here on, look only at what both have in this dimension.
        product = (*product[:axis], (max(first, first_other), min(last, last_other)), *product[axis + 1 :])
    return pieces


def subtract(products: list[RangeProduct], others: list[RangeProduct]) -> list[RangeProduct]:
    """What of `products` is in none of `others`."""
    if not products or not others or are_apart(_around(products), _around(others)):
        return products
    for other in others:
        products = [piece for product in products for piece in cut(product, other)]
    return products


def disjoint(products: Iterable[RangeProduct]) -> list[RangeProduct]:
    """The same points in products of ranges that do not overlap; an earlier one is kept whole."""
    kept: list[RangeProduct] = []
    for product in products:
        kept += subtract([product], kept)
    return kept


def _around(products: list[RangeProduct]) -> RangeProduct:
    """The smallest box that holds them all: a quick test for most pairs of policies."""
    return tuple((min(first for first, _ in side), max(last for _, last in side)) for side in zip(*products, strict=True))
