"""A picture with all coordinates: whole numbers of pixels, x to the right and y down. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.graph.grid import Text
from reconciler.graph.legend import PlacedSample
from reconciler.graph.model import Bar, Column, Graph, GraphNode, Wire

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The y of its lower side."""
        return self.y + self.height

    def edge(self, y: int) -> int:
        """The y at which a vertical line from `y` meets it."""
        return self.bottom if y >= self.bottom else self.y


@dataclass(frozen=True, slots=True)
class PlacedColumn:
    """A host: the whole column, and its head."""

    column: Column
    rect: Rect
    head: Rect


@dataclass(frozen=True, slots=True)
class PlacedBar:
    """The part of a subnet's bar on one host. `is_first` is the one with all words."""

    bar: Bar
    host: str
    rect: Rect
    is_first: bool


@dataclass(frozen=True, slots=True)
class PlacedJoin:
    """The line between two parts of a bar."""

    bar: Bar
    x1: int
    x2: int
    y: int


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node, and its text."""

    node: GraphNode
    rect: Rect
    text: Text


@dataclass(frozen=True, slots=True)
class PlacedWire:
    """A wire: its corners from source to target, and the place where its label begins."""

    wire: Wire
    points: tuple[Point, ...]
    label_at: Point


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph with all coordinates."""

    graph: Graph
    width: int
    height: int
    columns: tuple[PlacedColumn, ...]
    bars: tuple[PlacedBar, ...]
    joins: tuple[PlacedJoin, ...]
    nodes: tuple[PlacedNode, ...]
    wires: tuple[PlacedWire, ...]
    outside: Rect | None
    legend_y: int
    """The line above the legend."""
    legend: tuple[PlacedSample, ...]
