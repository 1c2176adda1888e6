"""The paths of `netctl explain` for the page: hop by hop, for the pairs of names that verification probes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.errors import UsageError
from reconciler.explain.ask import PathAnswer, ask, parse_target
from reconciler.explain.packet import Hop
from reconciler.explain.remedy import find_remedy
from reconciler.explain.source import line_of, path_of
from reconciler.explain.world import World
from reconciler.graph.model import Cell, Explanation, GraphNode
from reconciler.topology.types import Path, Topology

PATHS_MAX = 600
"""The most paths of one page: each takes about 5 ms. Of replicas, the first one stands for all."""


def explain_cells(world: World, cells: Iterable[Cell], nodes: Iterable[GraphNode]) -> tuple[Explanation, ...]:
    """The path of a packet for each cell that has a question, as far as it can be asked."""
    firsts = {node.names[0] for node in nodes if node.names}
    others = {"outside", *(f"host {host}" for host in world.topology.hosts)}
    wanted = [cell for cell in cells if cell.question and {cell.source, cell.target} <= firsts | others]
    # Containers first: paths between them are what a page is opened for.
    wanted.sort(key=lambda cell: not {cell.source, cell.target} <= firsts)
    return tuple(found for cell in wanted[:PATHS_MAX] if (found := _explain(world, cell)))


def _explain(world: World, cell: Cell) -> Explanation | None:
    try:
        answers = ask(world, cell.source.removeprefix("host "), parse_target(cell.question))
    except UsageError:  # an end has no address of that family
        return None
    answer = next((each for each in answers if each.passes), answers[0])
    return Explanation(cell.source, cell.target, _verdict(cell, answer), tuple(_hops(world.topology, answer)))


def _verdict(cell: Cell, answer: PathAnswer) -> str:
    if answer.passes:
        return f"{cell.source} to {cell.question}: passes"
    ended = answer.there if answer.back is None else answer.back
    return f"{cell.source} to {cell.question}: does not pass, {ended.reason}"


def _hops(topology: Topology, answer: PathAnswer) -> Iterator[str]:
    yield from (_hop(topology, hop) for hop in answer.there.hops)
    if answer.passes and answer.back is not None:
        yield f"the answer returns to {answer.back.hops[-1].place}"
    if remedy := find_remedy(answer):
        yield f"to let it pass: {remedy.words}{_place(topology, remedy.path)}"


def _hop(topology: Topology, hop: Hop) -> str:
    path = path_of(topology, hop.host, hop.record) if hop.record else ()
    return f"{hop.place}: {hop.words}{_place(topology, path)}"


def _place(topology: Topology, path: Path) -> str:
    return f" ({topology.path}:{line_of(topology, path)})" if path and topology.path else ""
