"""The legend of a picture: the line styles and the modes that it has, and no others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.graph.grid import text_width
from reconciler.graph.model import Graph
from reconciler.graph.rooms import MARGIN

LINE, SWATCH = 40, 12
"""The widths of the two sorts of samples."""
GAP, BETWEEN = 8, 24
ROW = 22
WORDS = {"cable": "cable", "policy": "policy: may connect", "port": "published port"}


@dataclass(frozen=True, slots=True)
class PlacedSample:
    """A sample and its words. `kind` is that of a wire; "" if it is a mode."""

    kind: str
    words: str
    x: int
    y: int

    @property
    def text_x(self) -> int:
        """Where the words begin."""
        return self.x + (LINE if self.kind else SWATCH) + GAP


def place_legend(graph: Graph, top: int, width: int) -> tuple[PlacedSample, ...]:
    """The samples from left to right, and on the next row if the picture is too narrow."""
    kinds = {wire.kind for wire in graph.wires}
    wires = ((kind, words) for kind, words in WORDS.items() if kind in kinds)
    modes = (("", mode) for mode in dict.fromkeys(bar.mode for bar in graph.bars if bar.mode))
    lines = tuple(_flow(wires, top, width))
    return (*lines, *_flow(modes, bottom_of(lines, top), width))


def bottom_of(samples: Iterable[PlacedSample], top: int) -> int:
    """The y below all of them."""
    return max((sample.y + ROW for sample in samples), default=top)


def _flow(items: Iterable[tuple[str, str]], y: int, width: int) -> Iterator[PlacedSample]:
    x = MARGIN
    for kind, words in items:
        sample = PlacedSample(kind, words, x, y)
        right = sample.text_x + text_width(words)
        if right > width - MARGIN and x > MARGIN:
            y += ROW
            right += MARGIN - x
            sample = PlacedSample(kind, words, MARGIN, y)
        yield sample
        x = right + BETWEEN
