"""The paths of `netctl explain` on the page: which pairs have one, and that they agree with the matrix."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli.explain import load_states
from reconciler.compile.resolve import resolve
from reconciler.explain.build import build_world
from reconciler.graph.compile import compile_graph
from reconciler.graph.model import Graph
from reconciler.graph.paths import PATHS_MAX, explain_cells
from reconciler.topology.types import Topology
from tests.harness.topologies.graphs import EXAMPLES, make_large, read


def explained(topology: Topology) -> Graph:
    """The graph with its paths, from the file alone."""
    from dataclasses import replace

    topology, states, facts = load_states(topology)
    graph = compile_graph(topology, resolve(topology, facts)[0], facts)
    return replace(graph, explanations=explain_cells(build_world(topology, states, facts), graph.cells, graph.nodes))


def test_a_path_has_its_hops_and_lines() -> None:
    """A policy opens one port: the question names it, each hop says where it is, and who asked for it in the file."""
    topology = read(EXAMPLES[0])
    graph = explained(topology)
    cell = next(cell for cell in graph.cells if (cell.source, cell.target) == ("web", "db"))
    assert cell.question == "db:5432/tcp"
    path = next(path for path in graph.explanations if (path.source, path.target) == ("web", "db"))
    assert path.verdict == "web to db:5432/tcp: passes"
    line = topology.position(("policies", 0)).line
    assert f"alpha: policy from web to db allows tcp 5432 (topology.yaml:{line})" in path.hops
    assert path.hops[-1] == "the answer returns to web"


def test_a_path_that_ends_has_a_remedy() -> None:
    """No policy opens cache to dns: the last line says what would."""
    graph = explained(read(EXAMPLES[0]))
    path = next(path for path in graph.explanations if (path.source, path.target) == ("cache", "dns"))
    assert "does not pass" in path.verdict or "passes" in path.verdict
    ended = [path for path in graph.explanations if "does not pass" in path.verdict]
    assert ended
    assert any(path.hops[-1].startswith("to let it pass: ") for path in ended)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_paths_agree_with_the_matrix(path: Path) -> None:
    """Where every probe of a pair may pass, the path passes; where none may, it does not."""
    graph = explained(read(path))
    verdicts = {(each.source, each.target): each.verdict for each in graph.explanations}
    for cell in graph.cells:
        verdict = verdicts.get((cell.source, cell.target))
        if verdict and cell.symbol in ("ok", "-"):
            assert verdict.endswith(": passes") is (cell.symbol == "ok"), (cell, verdict)


def test_attackers_and_further_replicas_have_no_path() -> None:
    """A neighbour is no end of a question, and of replicas that share a node the first one stands for all."""
    graph = explained(read(EXAMPLES[0]))
    sources = {path.source for path in graph.explanations}
    assert "worker-1" in sources
    assert not sources & {"worker-2", "a neighbour", "a foreign link"}


def test_a_large_page_has_a_limited_number_of_paths() -> None:
    """The work for paths is bounded, and those between containers go first."""
    graph = explained(make_large(120))
    assert len(graph.explanations) <= PATHS_MAX
    assert not any(path.source.startswith("host ") for path in graph.explanations[:100])
