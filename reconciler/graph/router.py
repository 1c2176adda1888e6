"""From the course of a wire to its corners: `Router`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.graph.grid import PAD, TRUNK, Grid
from reconciler.graph.lanes import GUTTER_LANE, Course, Lanes
from reconciler.graph.model import NodeId, Wire
from reconciler.graph.picture import PlacedBar, PlacedColumn, PlacedNode, PlacedWire, Point, Rect
from reconciler.graph.rooms import GUTTER_PAD, Gutters, Heights

Corners = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Router:
    """All that the corners of a wire follow from."""

    grid: Grid
    lanes: Lanes
    heights: Heights
    gutters: Gutters
    columns: tuple[PlacedColumn, ...]
    bars: tuple[PlacedBar, ...]
    nodes: tuple[PlacedNode, ...]
    outside: Rect | None

    def place_all(self, courses: tuple[Course, ...]) -> tuple[PlacedWire, ...]:
        """The wires in the order of their courses."""
        rects = {each.node.id: each.rect for each in self.nodes}
        parts = {(each.bar.id, each.host): each.rect for each in self.bars}
        heads = {each.column.id: each.head for each in self.columns}
        router = _Rects(self, rects, parts, heads)
        return tuple(router.place(course) for course in courses)


@dataclass(frozen=True, slots=True)
class _Rects:
    """The router with the rectangle of each end."""

    router: Router
    nodes: dict[NodeId, Rect]
    bars: dict[tuple[NodeId, str], Rect]
    heads: dict[NodeId, Rect]

    def place(self, course: Course) -> PlacedWire:
        wire, (one, two) = course.wire, course.hosts
        if course.is_home:
            return PlacedWire(wire, self._comb(wire, one), (0, 0))
        if course.is_short:
            first, last = self._tap(course, 0), self._tap(course, 1)
        elif course.crossing is None:
            x = self._gutter_x(one, wire.bundle)
            first, last = self._end(course, 0, x, self._height(course, 1)), self._end(course, 1, x, self._height(course, 0))
        else:
            y = self.router.heights.crossing(course.crossing, self.router.lanes.crossings[course.crossing][wire.bundle])
            x1, x2 = self._gutter_x(one, wire.bundle), self._gutter_x(two, wire.bundle)
            first, last = (*self._end(course, 0, x1, y), (x1, y)), (*self._end(course, 1, x2, y), (x2, y))
        return PlacedWire(wire, tuple(_straighten((*first, *reversed(last)))), _label_at(course, first, last))

    def _comb(self, wire: Wire, host: str) -> Corners:
        """From a node to the left, and beside a column of nodes up to the bar, or to the host's head."""
        rect = self.nodes[wire.source]
        x, y = rect.x - TRUNK // 2, rect.y + rect.height // 2
        return (rect.x, y), (x, y), (x, self._edge(wire.target, host).bottom)

    def _edge(self, end: NodeId, host: str) -> Rect:
        if end.shape == "outside":
            assert self.router.outside is not None
            return self.router.outside
        return self.heads[end] if end.shape == "host" else self.bars[end, host]

    def _tap(self, course: Course, index: int) -> Corners:
        """From the bottom of a node to its lane."""
        end, spot = (course.wire.source, course.wire.target)[index], course.spots[index]
        assert spot is not None
        rect, taps, bundle = self.nodes[end], self.router.lanes.taps[end], course.wire.bundle
        x = rect.x + rect.width * (taps.index(bundle) + 1) // (len(taps) + 1)
        lane = self.router.lanes.rows[spot.host, spot.band, spot.row][bundle]
        return (x, rect.bottom), (x, self.router.heights.below(self.router.grid, spot.band, spot.row, lane))

    def _end(self, course: Course, index: int, x: int, y: int) -> Corners:
        """From one end to the gutter at `x`, in which the wire comes from `y`."""
        if course.spots[index]:
            tap = self._tap(course, index)
            return (*tap, (x, tap[-1][1]))
        rect = self._edge((course.wire.source, course.wire.target)[index], course.hosts[index])
        return ((x, rect.edge(y)),)

    def _height(self, course: Course, index: int) -> int:
        """The y at which an end enters the gutter, or about so."""
        if course.spots[index]:
            return self._tap(course, index)[-1][1]
        rect = self._edge((course.wire.source, course.wire.target)[index], course.hosts[index])
        return rect.y + rect.height // 2

    def _gutter_x(self, host: str, bundle: str) -> int:
        column = next(each for each in self.router.columns if each.column.id.name == host)
        start = column.rect.x + PAD + self.router.grid.inner_widths[host] + GUTTER_PAD
        return start + GUTTER_LANE * self.router.gutters.lanes[host][bundle]


def _label_at(course: Course, first: Corners, last: Corners) -> Point:
    """At the lane below the target or the source, or beside the gutter at the target's edge."""
    for spot, corners in ((course.spots[1], last), (course.spots[0], first)):
        if spot:
            x, y = corners[1]
            return x + 3, y - 2
    return last[0][0] + 3, last[0][1] - 3


def _straighten(points: Corners) -> Iterator[Point]:
    """Without repeated points, and without those in the middle of a line."""
    distinct = [point for index, point in enumerate(points) if index == 0 or point != points[index - 1]]
    for index, (x, y) in enumerate(distinct):
        inner = 0 < index < len(distinct) - 1
        if inner and (
            distinct[index - 1][0] == x == distinct[index + 1][0] or distinct[index - 1][1] == y == distinct[index + 1][1]
        ):
            continue
        yield x, y
