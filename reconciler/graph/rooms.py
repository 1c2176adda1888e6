"""How high rows and bars are, and how wide the gutters: the coordinates that follow from nodes and lanes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.graph.grid import Grid
from reconciler.graph.lanes import GUTTER_LANE, LANE, Course, Lanes, assign_lanes
from reconciler.graph.model import Graph, NodeId

MARGIN = 24
HEADING = 52
OUTSIDE_HEIGHT, OUTSIDE_GAP = 28, 34
HEAD_HEIGHT, BAR_HEIGHT = 48, 40
ABOVE_BAR, BELOW_BAR, BELOW_ROW = 16, 16, 14
GUTTER_PAD = 8


@dataclass(frozen=True, slots=True)
class Heights:
    """The y of everything."""

    outside: int
    head: int
    bars: tuple[int, ...]
    rows: Mapping[tuple[int, int], int]
    end: int

    def crossing(self, band: int, lane: int) -> int:
        """The y of a lane above a bar."""
        return self.bars[band] - ABOVE_BAR - LANE * lane

    def below(self, grid: Grid, band: int, row: int, lane: int) -> int:
        """The y of a lane below a row."""
        return self.rows[band, row] + grid.row_heights[band, row] + LANE * (lane + 1) + 2


def find_heights(graph: Graph, grid: Grid, lanes: Lanes) -> Heights:
    """From the top to the bottom."""
    outside = HEADING + MARGIN // 2
    head = outside + (OUTSIDE_HEIGHT + OUTSIDE_GAP if graph.has_outside else 0)
    y = head + HEAD_HEIGHT
    bars, rows = [], {}
    for number, band in enumerate(grid.bands):
        y += lanes.crossing_depth(number) + ABOVE_BAR
        bars.append(y)
        y += BAR_HEIGHT + BELOW_BAR if band.has_bars else 0
        for row in range(band.rows):
            rows[number, row] = y
            y += grid.row_heights.get((number, row), 0) + BELOW_ROW + lanes.row_depth(number, row)
    return Heights(outside, head, tuple(bars), rows, y + 10)


@dataclass(frozen=True, slots=True)
class Gutters:
    """By host: the lane of each bundle beside the nodes, and how many there are."""

    lanes: Mapping[str, Mapping[str, int]]

    def width(self, host: str) -> int:
        """The room that they need."""
        count = max(self.lanes.get(host, {}).values(), default=-1) + 1
        return GUTTER_PAD + GUTTER_LANE * count if count else 0


def find_gutters(grid: Grid, lanes: Lanes, courses: Iterable[Course], heights: Heights) -> Gutters:
    """A bundle has one lane beside the nodes of a host, from its highest place there to its lowest one."""
    spans: dict[str, dict[str, tuple[int, int]]] = {}
    for course in courses:
        if course.is_short:
            continue
        bundle = course.wire.bundle
        for index, end in enumerate((course.wire.source, course.wire.target)):
            host, spot = course.hosts[index], course.spots[index]
            if spot:
                lane = lanes.rows[spot.host, spot.band, spot.row][bundle]
                ys = [heights.below(grid, spot.band, spot.row, lane)]
            else:
                ys = list(_edge_ys(grid, heights, end))
            if course.crossing is not None:
                ys.append(heights.crossing(course.crossing, lanes.crossings[course.crossing][bundle]))
            known = spans.setdefault(host, {}).get(bundle, (min(ys), max(ys)))
            spans[host][bundle] = (min(known[0], *ys), max(known[1], *ys))
    return Gutters({host: assign_lanes(found) for host, found in spans.items()})


def _edge_ys(grid: Grid, heights: Heights, end: NodeId) -> tuple[int, int]:
    match end.shape:
        case "outside":
            return heights.outside, heights.outside + OUTSIDE_HEIGHT
        case "host":
            return heights.head, heights.head + HEAD_HEIGHT
        case _:
            y = heights.bars[grid.band_of(end)]
            return y, y + BAR_HEIGHT
