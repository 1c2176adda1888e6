"""Boxes: products of ranges, such as "these sources, these targets, TCP, ports 80 to 90", and how to keep them from overlapping.

The kernel refuses an element of an interval set that overlaps another, and two policies may well speak of the same packets (a
container, and the subnet that it is in). So each policy adds only what none before it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

Range = tuple[int, int]
"""First and last, both included."""
Box = tuple[Range, ...]


def range_of(block: str) -> Range:
    """The first and the last address of a block, as numbers."""
    network = ip_network(block)
    return int(network.network_address), int(network.broadcast_address)


def are_apart(box: Box, other: Box) -> bool:
    """Whether no point is in both."""
    return any(mine[0] > yours[1] or yours[0] > mine[1] for mine, yours in zip(box, other, strict=True))


def cut(box: Box, other: Box) -> list[Box]:
    """What of `box` is not in `other`, in pieces that do not overlap."""
    if are_apart(box, other):
        return [box]
    pieces = []
    for place, ((first, last), (first_other, last_other)) in enumerate(zip(box, other, strict=True)):
        if first < first_other:
            pieces.append((*box[:place], (first, first_other - 1), *box[place + 1 :]))
        if last > last_other:
            pieces.append((*box[:place], (last_other + 1, last), *box[place + 1 :]))
        # From here on, look only at what both have in this dimension.
        box = (*box[:place], (max(first, first_other), min(last, last_other)), *box[place + 1 :])
    return pieces


def subtract(boxes: list[Box], others: list[Box]) -> list[Box]:
    """What of `boxes` is in none of `others`."""
    if not boxes or not others or are_apart(_around(boxes), _around(others)):
        return boxes
    for other in others:
        boxes = [piece for box in boxes for piece in cut(box, other)]
    return boxes


def disjoint(boxes: Iterable[Box]) -> list[Box]:
    """The same points in boxes that do not overlap; an earlier one is kept whole."""
    kept: list[Box] = []
    for box in boxes:
        kept += subtract([box], kept)
    return kept


def _around(boxes: list[Box]) -> Box:
    """The smallest box that holds them all: a quick test for most pairs of policies."""
    return tuple((min(first for first, _ in side), max(last for _, last in side)) for side in zip(*boxes, strict=True))
