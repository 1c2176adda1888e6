"""The lanes of wires: below each row of nodes, beside the nodes of each host, and above each bar. Pure.

A wire leaves a node at its bottom, and follows a lane below the row to the gutter at the right of its host. In the gutter
it goes up or down. To another host, it crosses in a lane above a bar. So no wire crosses a node.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.graph.grid import Grid, Spot
from reconciler.graph.model import Graph, NodeId, Wire

LANE = 14
"""The distance of two lanes below a row, which have room for a label."""
GUTTER_LANE = 9

Key = TypeVar("Key", bound=Hashable)
RowKey = tuple[str, int, int]
"""Host, band and row."""


def assign_lanes(spans: Mapping[Key, tuple[int, int]]) -> dict[Key, int]:
    """A number for each span, so that spans with one number do not touch; the numbers begin with 0 and are few."""
    ends: list[int] = []
    lanes: dict[Key, int] = {}
    order = {key: number for number, key in enumerate(spans)}
    for key, (first, last) in sorted(spans.items(), key=lambda item: (item[1], order[item[0]])):
        lane = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        lanes[key] = lane
    return lanes


@dataclass(frozen=True, slots=True)
class Course:
    """The way of a wire without coordinates: the hosts of its ends, and the band above whose bar it crosses, if it does.

    `is_short` is one between a node and the bar of its own band, or between two nodes of one row.
    """

    wire: Wire
    hosts: tuple[str, str]
    spots: tuple[Spot | None, Spot | None]
    crossing: int | None
    is_home: bool
    is_short: bool


@dataclass(slots=True)
class Lanes:
    """The numbers of all lanes below rows and above bars. Those of the gutters follow when the heights are known."""

    rows: dict[RowKey, dict[str, int]] = field(default_factory=dict)
    crossings: dict[int, dict[str, int]] = field(default_factory=dict)
    taps: dict[NodeId, list[str]] = field(default_factory=dict)
    """By node, the bundles that leave its bottom, from left to right."""

    def row_depth(self, band: int, row: int) -> int:
        """The room that the lanes below a row need."""
        return LANE * max((len(lanes) for (_, b, r), lanes in self.rows.items() if (b, r) == (band, row)), default=0)

    def crossing_depth(self, band: int) -> int:
        """The room that the lanes above a bar need."""
        return LANE * (max(self.crossings.get(band, {}).values(), default=-1) + 1)


def plan_courses(graph: Graph, grid: Grid) -> tuple[tuple[Course, ...], Lanes]:
    """The way of every wire whose ends are in the picture, and the lanes. A wire between two empty hosts has none."""
    hosts_of = {bar.id: tuple(bar.gateways) for bar in graph.bars}
    order = {column.id.name: number for number, column in enumerate(graph.columns)}
    courses = tuple(course for wire in graph.wires if (course := _course(wire, grid, hosts_of)))
    lanes = Lanes()
    spans: dict[int, dict[str, tuple[int, int]]] = {}
    for course in courses:
        if course.is_home:
            continue
        bundle = course.wire.bundle
        for spot, end in zip(course.spots, (course.wire.source, course.wire.target), strict=True):
            if spot:
                row = lanes.rows.setdefault((spot.host, spot.band, spot.row), {})
                row.setdefault(bundle, len(row))
                taps = lanes.taps.setdefault(end, [])
                if bundle not in taps:
                    taps.append(bundle)
        if course.crossing is not None:
            first, last = sorted(order[host] for host in course.hosts)
            known = spans.setdefault(course.crossing, {}).get(bundle, (first, last))
            spans[course.crossing][bundle] = (min(known[0], first), max(known[1], last))
    lanes.crossings = {band: assign_lanes(found) for band, found in spans.items()}
    return courses, lanes


def _course(wire: Wire, grid: Grid, hosts_of: Mapping[NodeId, tuple[str, ...]]) -> Course | None:
    ends = (wire.source, wire.target)
    spots = (grid.spots.get(wire.source), grid.spots.get(wire.target))
    sides = [_sides(end, spot, hosts_of) for end, spot in zip(ends, spots, strict=True)]
    if not all(sides[index] or ends[index].shape == "outside" for index in (0, 1)):
        return None
    hosts = _meet(sides[0], sides[1])
    is_home = _is_home(wire, spots[0], grid)
    rows = [(spot.host, spot.band, spot.row) if spot else None for spot in spots]
    is_short = is_home or (rows[0] is not None and rows[0] == rows[1])
    if hosts[0] != hosts[1] and not grid.bands:
        return None  # two hosts with nothing on them
    crossing = _crossing(ends, spots, grid) if hosts[0] != hosts[1] else None
    return Course(wire, hosts, spots, crossing, is_home, is_short)


def _sides(end: NodeId, spot: Spot | None, hosts_of: Mapping[NodeId, tuple[str, ...]]) -> tuple[str, ...]:
    """The hosts on which a wire can leave an end; none stands for all."""
    if spot:
        return (spot.host,)
    return (end.name,) if end.shape == "host" else hosts_of.get(end, ())


def _meet(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, str]:
    """The host of each end: the same one if both have it."""
    if not one or not two:
        return ((one or two)[0],) * 2
    shared = next((host for host in one if host in two), None)
    return (shared, shared) if shared else (one[0], two[0])


def _is_home(wire: Wire, spot: Spot | None, grid: Grid) -> bool:
    if wire.kind != "cable" or spot is None:
        return False
    if wire.source.shape == "ports":
        return True
    return wire.target in grid.bands[spot.band].keys


def _crossing(ends: tuple[NodeId, NodeId], spots: tuple[Spot | None, Spot | None], grid: Grid) -> int:
    """The band above whose bar the wire goes to the other host: that of its target, or of its source."""
    for end, spot in zip(reversed(ends), reversed(spots), strict=True):
        if spot:
            return spot.band
        if end.shape == "subnet":
            return grid.band_of(end)
    return 0
