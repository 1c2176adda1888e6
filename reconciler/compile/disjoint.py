"""Products of ranges, such as "these sources, these targets, TCP, ports 80 to 90", and how to make them disjoint.

The kernel rejects an element of an interval set that overlaps another. Two policies may concern the same packets (a
container, and its subnet). So each policy adds only the packets that no earlier one has.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

Range = tuple[int, int]
"""First and last value, both included."""
RangeProduct = tuple[Range, ...]


def range_of(block: str) -> Range:
    """The first and the last address of a block, as numbers."""
    network = ip_network(block)
    return int(network.network_address), int(network.broadcast_address)


def are_apart(product: RangeProduct, other: RangeProduct) -> bool:
    """Whether no point is in both."""
    return any(mine[0] > yours[1] or yours[0] > mine[1] for mine, yours in zip(product, other, strict=True))


def cut(product: RangeProduct, other: RangeProduct) -> list[RangeProduct]:
    """The part of `product` outside of `other`, in disjoint pieces."""
    if are_apart(product, other):
        return [product]
    pieces = []
    for axis, ((first, last), (first_other, last_other)) in enumerate(zip(product, other, strict=True)):
        if first < first_other:
            pieces.append((*product[:axis], (first, first_other - 1), *product[axis + 1 :]))
        if last > last_other:
            pieces.append((*product[:axis], (last_other + 1, last), *product[axis + 1 :]))
        # From here on, only the part that both share in this dimension matters.
        product = (*product[:axis], (max(first, first_other), min(last, last_other)), *product[axis + 1 :])
    return pieces


def subtract(products: list[RangeProduct], others: list[RangeProduct]) -> list[RangeProduct]:
    """The part of `products` outside of all `others`."""
    if not products or not others or are_apart(_around(products), _around(others)):
        return products
    for other in others:
        products = [piece for product in products for piece in cut(product, other)]
    return products


def disjoint(products: Iterable[RangeProduct]) -> list[RangeProduct]:
    """The same points in disjoint products of ranges; an earlier one stays whole."""
    kept: list[RangeProduct] = []
    for product in products:
        kept += subtract([product], kept)
    return kept


def _around(products: list[RangeProduct]) -> RangeProduct:
    """The smallest product that contains all of them: a quick test for most pairs of policies."""
    return tuple((min(first for first, _ in side), max(last for _, last in side)) for side in zip(*products, strict=True))
