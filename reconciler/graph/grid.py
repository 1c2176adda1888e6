"""The cells of the nodes: in each band, which is a subnet's part of the picture, each host has a grid of nodes. Pure.

All lengths are in pixels of the picture, and whole numbers, so that its text is the same on every machine.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.graph.model import Column, Graph, GraphNode, NodeId
from reconciler.state.visible import visible_line

TITLE_PX, TEXT_PX = 8, 7
"""The widths of a character of a title (13 px) and of other text (11 px), in a font of equal widths; rounded up."""
TITLE_LINE, TEXT_LINE = 16, 14
TITLE_MAX, TEXT_MAX = 24, 39
"""The longest lines; the longest IPv6 address has 39 characters."""
PAD = 9
NODE_MIN = 112
TRUNK, BETWEEN = 16, 12
"""The room to the left of each node, with its cable; and to the right of it."""
COLUMN_MIN = 190
RATIO = 0.8
"""Of the shape of a node and of the picture: how many nodes stand side by side."""


@dataclass(frozen=True, slots=True)
class Band:
    """A horizontal part of the picture: that of subnets side by side, of published ports, or of nodes without a subnet."""

    keys: tuple[NodeId, ...]
    has_bars: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Text:
    """The wrapped text of a node."""

    title: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def width(self) -> int:
        """With padding."""
        longest = max((len(line) * TITLE_PX for line in self.title), default=0)
        return max(longest, *(len(line) * TEXT_PX for line in self.lines), 0) + 2 * PAD

    @property
    def height(self) -> int:
        """With padding."""
        return len(self.title) * TITLE_LINE + len(self.lines) * TEXT_LINE + 2 * PAD - 4


@dataclass(frozen=True, slots=True)
class Spot:
    """The cell of a node: its band and row, and its place in the row on its host."""

    host: str
    band: int
    row: int
    place: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Where each node is, without coordinates; and the widths of nodes and columns without their wires."""

    bands: tuple[Band, ...]
    spots: Mapping[NodeId, Spot]
    texts: Mapping[NodeId, Text]
    node_widths: Mapping[str, int]
    inner_widths: Mapping[str, int]
    row_heights: Mapping[tuple[int, int], int]

    def band_of(self, key: NodeId) -> int:
        """The number of the band of a bar."""
        return next(number for number, band in enumerate(self.bands) if key in band.keys)


def title_width(text: str) -> int:
    """The width of a text as it is shown, in the type of titles."""
    return len(visible_line(text)) * TITLE_PX


def text_width(text: str) -> int:
    """The same of other text."""
    return len(visible_line(text)) * TEXT_PX


def wrap_node(node: GraphNode) -> Text:
    """The lines of a node's text. A long name continues on the next line, and is never cut."""
    return Text(_wrap((node.title,), TITLE_MAX), _wrap(node.lines, TEXT_MAX))


def _wrap(lines: Iterable[str], width: int) -> tuple[str, ...]:
    return tuple(part for line in lines for part in textwrap.wrap(visible_line(line), width, break_on_hyphens=False) or [""])


def place_nodes(graph: Graph) -> Grid:
    """The cell of every node. Nodes of one band and host fill rows, in the order of the file."""
    cells = _cells(graph)
    texts = {node.id: wrap_node(node) for node in graph.nodes}
    widths = {column.id.name: _side_by_side(graph, column, cells) for column in graph.columns}
    spots: dict[NodeId, Spot] = {}
    bands = []
    for number, keys in enumerate(_band_keys(graph, cells)):
        rows = 0
        for host, wide in widths.items():
            nodes = [node for key in keys for node in cells.get((key, host), [])]
            rows = max(rows, math.ceil(len(nodes) / wide))
            spots |= {node.id: Spot(host, number, index // wide, index % wide) for index, node in enumerate(nodes)}
        bands.append(Band(keys, any(key.shape == "subnet" for key in keys), rows))
    heights: dict[tuple[int, int], int] = {}
    for id_, spot in spots.items():
        heights[spot.band, spot.row] = max(heights.get((spot.band, spot.row), 0), texts[id_].height)
    node_widths = {
        host: max((texts[id_].width for id_, spot in spots.items() if spot.host == host), default=0) for host in widths
    }
    node_widths = {host: max(width, NODE_MIN) for host, width in node_widths.items()}
    inner = {
        column.id.name: max(
            widths[column.id.name] * (TRUNK + node_widths[column.id.name] + BETWEEN), _head_width(graph, column), COLUMN_MIN
        )
        for column in graph.columns
    }
    return Grid(tuple(bands), spots, texts, node_widths, inner, heights)


def _cells(graph: Graph) -> dict[tuple[NodeId, str], list[GraphNode]]:
    bars = {bar.id for bar in graph.bars}
    cells: dict[tuple[NodeId, str], list[GraphNode]] = {}
    for node in graph.nodes:
        home = NodeId("subnet", node.band)
        key = NodeId("ports") if node.id.shape == "ports" else home if home in bars else NodeId("container")
        cells.setdefault((key, node.host), []).append(node)
    return cells


def _band_keys(graph: Graph, cells: Mapping[tuple[NodeId, str], list[GraphNode]]) -> list[tuple[NodeId, ...]]:
    """The bands from the top. Subnets share one if they lie side by side: from its first host to its last one, each is alone."""
    order = {column.id.name: number for number, column in enumerate(graph.columns)}
    levels: list[list[tuple[NodeId, range]]] = []
    for bar in graph.bars:
        numbers = [order[host] for host in bar.gateways]
        own = range(min(numbers, default=0), max(numbers, default=len(order) - 1) + 1)
        level = next((each for each in levels if not any(_touch(own, other) for _, other in each)), None)
        if level is None:
            levels.append(level := [])
        level.append((bar.id, own))
    bars = [tuple(key for key, _ in level) for level in levels]
    present = {key for key, _ in cells}
    ports, loose = (tuple(key for key in (each,) if key in present) for each in (NodeId("ports"), NodeId("container")))
    return [keys for keys in (ports, *bars, loose) if keys]


def _touch(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _side_by_side(graph: Graph, column: Column, cells: Mapping[tuple[NodeId, str], list[GraphNode]]) -> int:
    """How many nodes of a host stand side by side, so that the picture is somewhat wider than high."""
    largest: dict[NodeId, int] = {}
    for (key, _), nodes in cells.items():
        largest[key] = max(largest.get(key, 0), len(nodes))
    own = max((len(nodes) for (_, host), nodes in cells.items() if host == column.id.name), default=1)
    return max(1, min(own, math.ceil(math.sqrt(RATIO * sum(largest.values()) / len(graph.columns)))))


def _head_width(graph: Graph, column: Column) -> int:
    """The width that the texts of the host, and of its part of each bar, need."""
    host, gap = column.id.name, PAD
    needed = [
        title_width(host) + gap + text_width(column.connect),
        text_width("  ".join((column.badge.words, ", ".join(column.addresses)))),
    ]
    for bar in graph.bars:
        if host in bar.gateways:
            needed.append(title_width(bar.id.name) + gap + text_width(bar.mode) + gap + text_width(bar.gateways[host]))
            needed.append(text_width(", ".join(bar.cidrs)) + gap + text_width(bar.badge.words))
    return max(needed) + 4 * PAD
