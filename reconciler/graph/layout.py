"""Where everything of a picture is: `lay_out`. Pure; the same graph has the same layout on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from reconciler.graph.grid import BETWEEN, PAD, TRUNK, Grid, place_nodes, text_width
from reconciler.graph.lanes import plan_courses
from reconciler.graph.legend import bottom_of, place_legend
from reconciler.graph.model import Graph, NodeId
from reconciler.graph.picture import Picture, PlacedBar, PlacedColumn, PlacedJoin, PlacedNode, Rect
from reconciler.graph.rooms import (
    BAR_HEIGHT,
    HEAD_HEIGHT,
    MARGIN,
    OUTSIDE_HEIGHT,
    Gutters,
    Heights,
    find_gutters,
    find_heights,
)
from reconciler.graph.router import Router
from reconciler.state.visible import visible_line

COLUMN_GAP = 44
HEADING_PX = 13
"""The width of a character of the heading (20 px), rounded up."""


def lay_out(graph: Graph) -> Picture:
    """The picture of a graph."""
    grid = place_nodes(graph)
    courses, lanes = plan_courses(graph, grid)
    heights = find_heights(graph, grid, lanes)
    gutters = find_gutters(grid, lanes, courses, heights)
    columns = tuple(_columns(graph, grid, gutters, heights))
    heading = max(len(visible_line(graph.name)) * HEADING_PX, text_width(graph.summary))
    width = max(columns[-1].rect.right if columns else 0, MARGIN + heading) + MARGIN
    bars = tuple(_bars(graph, grid, columns, heights))
    nodes = tuple(_nodes(graph, grid, columns, heights))
    outside = Rect(MARGIN, heights.outside, width - 2 * MARGIN, OUTSIDE_HEIGHT) if graph.has_outside else None
    wires = Router(grid, lanes, heights, gutters, columns, bars, nodes, outside).place_all(courses)
    top = heights.end + MARGIN + 14
    legend = place_legend(graph, top, width)
    height = bottom_of(legend, top) + MARGIN // 2
    return Picture(graph, width, height, columns, bars, tuple(_joins(bars)), nodes, wires, outside, heights.end + MARGIN, legend)


def _columns(graph: Graph, grid: Grid, gutters: Gutters, heights: Heights) -> Iterator[PlacedColumn]:
    x = MARGIN
    for column in graph.columns:
        host = column.id.name
        width = grid.inner_widths[host] + gutters.width(host) + 2 * PAD
        rect = Rect(x, heights.head, width, heights.end - heights.head)
        yield PlacedColumn(column, rect, Rect(x, heights.head, width, HEAD_HEIGHT))
        x += width + COLUMN_GAP


def _bars(graph: Graph, grid: Grid, columns: Iterable[PlacedColumn], heights: Heights) -> Iterator[PlacedBar]:
    placed = tuple(columns)
    for bar in graph.bars:
        y = heights.bars[grid.band_of(bar.id)]
        here = [each for each in placed if each.column.id.name in bar.gateways]
        for number, each in enumerate(here):
            rect = Rect(each.rect.x + PAD, y, each.rect.width - 2 * PAD, BAR_HEIGHT)
            yield PlacedBar(bar, each.column.id.name, rect, is_first=number == 0)


def _joins(bars: Iterable[PlacedBar]) -> Iterator[PlacedJoin]:
    parts: dict[NodeId, list[PlacedBar]] = {}
    for part in bars:
        parts.setdefault(part.bar.id, []).append(part)
    for found in parts.values():
        for left, right in pairwise(found):
            yield PlacedJoin(left.bar, left.rect.right, right.rect.x, left.rect.y + BAR_HEIGHT // 2)


def _nodes(graph: Graph, grid: Grid, columns: Iterable[PlacedColumn], heights: Heights) -> Iterator[PlacedNode]:
    starts = {each.column.id.name: each.rect.x + PAD for each in columns}
    for node in graph.nodes:
        if (spot := grid.spots.get(node.id)) and spot.host in starts:
            width = grid.node_widths[spot.host]
            x = starts[spot.host] + TRUNK + spot.place * (TRUNK + width + BETWEEN)
            text = grid.texts[node.id]
            yield PlacedNode(node, Rect(x, heights.rows[spot.band, spot.row], width, text.height), text)
