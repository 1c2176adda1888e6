"""What the languages of other programs that draw have in common: short names, and the wires that have two ends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.graph.model import OUTSIDE, Graph, NodeId, Wire


def number_ids(graph: Graph) -> dict[NodeId, str]:
    """A short name for everything in the graph: no name of the file is a word of another language."""
    ids = [*(each.id for each in graph.columns), *(each.id for each in graph.bars), *(each.id for each in graph.nodes)]
    return {id_: f"n{number}" for number, id_ in enumerate([*([OUTSIDE] if graph.has_outside else []), *ids])}


def drawable(wires: Iterable[Wire], keys: Mapping[NodeId, str]) -> Iterator[Wire]:
    """The wires whose ends are drawn. Published ports stand inside of their host, so they have no wire to it."""
    for wire in wires:
        is_inside = wire.kind == "cable" and wire.source.shape == "ports"
        if wire.source in keys and wire.target in keys and not is_inside:
            yield wire
