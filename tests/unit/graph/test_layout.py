"""Where everything of a picture is: nothing overlaps, nothing leaves the picture, and no wire crosses a node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.graph.grid import TEXT_PX, TITLE_PX
from reconciler.graph.lanes import assign_lanes
from reconciler.graph.layout import lay_out
from reconciler.graph.model import OUTSIDE, Bar, Column, Graph, GraphNode, NodeId, Wire
from reconciler.graph.picture import Picture, PlacedWire, Rect
from tests.harness.topologies.graphs import EXAMPLES, make_large, picture_of, read


def overlap(one: Rect, other: Rect) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


def solids(picture: Picture) -> Iterator[tuple[str, Rect]]:
    """What must not overlap: each with a name for the message."""
    yield from ((str(each.column.id), each.head) for each in picture.columns)
    yield from ((f"{each.bar.id} on {each.host}", each.rect) for each in picture.bars)
    yield from ((str(each.node.id), each.rect) for each in picture.nodes)
    if picture.outside:
        yield "outside", picture.outside


def crosses(wire: PlacedWire, rect: Rect) -> bool:
    """Whether a line of the wire passes the inside of a rectangle; its border is where wires begin and end."""
    for (x1, y1), (x2, y2) in pairwise(wire.points):
        line = Rect(min(x1, x2), min(y1, y2), abs(x1 - x2), abs(y1 - y2))
        if line.x < rect.right and line.right > rect.x and line.y < rect.bottom and line.bottom > rect.y:
            return True
    return False


def check(picture: Picture) -> None:
    found = list(solids(picture))
    for (name, rect), (other, place) in combinations(found, 2):
        assert not overlap(rect, place), f"{name} and {other}"
    for name, rect in found:
        assert rect.x >= 0, name
        assert rect.y >= 0, name
        assert rect.right <= picture.width, name
        assert rect.bottom <= picture.legend_y, name
    columns = {each.column.id.name: each.rect for each in picture.columns}
    for node in picture.nodes:
        column = columns[node.node.host]
        assert column.x < node.rect.x, node.node.id
        assert node.rect.right < column.right, node.node.id
        assert column.y < node.rect.y, node.node.id
        assert node.rect.bottom < column.bottom, node.node.id
        assert all(len(line) * TITLE_PX <= node.rect.width for line in node.text.title)
        assert all(len(line) * TEXT_PX <= node.rect.width for line in node.text.lines)
    for wire in picture.wires:
        assert all(0 <= x <= picture.width and 0 <= y <= picture.legend_y for x, y in wire.points), wire.wire
        assert all(x1 == x2 or y1 == y2 for (x1, y1), (x2, y2) in pairwise(wire.points)), wire.wire
        for node in picture.nodes:
            assert not crosses(wire, node.rect), f"{wire.wire.bundle} crosses {node.node.id}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_overlaps_in_the_examples(path: Path) -> None:
    """Of the demo and every example: nodes, bars and heads are apart and inside, and all lines are upright or level."""
    check(picture_of(read(path)))


def test_three_hundred_containers_are_drawn_apart() -> None:
    """A large topology keeps the same rules, and its work grows with its things: a node each, and a cable for each network."""
    topology = make_large(300)
    picture = picture_of(topology)
    check(picture)
    containers = [each for each in picture.nodes if each.node.id.shape == "container"]
    assert len(containers) == 300
    cables = [each for each in picture.wires if each.wire.kind == "cable" and each.wire.source.shape == "container"]
    assert len(cables) == sum(len(container.attachments) for container in topology.containers.values())
    assert picture.width < 4_000
    assert picture.height < 4_000


def test_the_same_file_has_the_same_picture() -> None:
    """Two layouts of one file are equal in every coordinate."""
    assert picture_of(read(EXAMPLES[0])) == picture_of(read(EXAMPLES[0]))


@given(st.dictionaries(st.integers(), st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=20))
def test_lanes_never_touch(sizes: dict[int, tuple[int, int]]) -> None:
    """Two spans that touch have different lanes, and no lane is left out."""
    spans = {key: (first, first + length) for key, (first, length) in sizes.items()}
    lanes = assign_lanes(spans)
    for one, other in combinations(spans, 2):
        if spans[one][0] <= spans[other][1] and spans[other][0] <= spans[one][1]:
            assert lanes[one] != lanes[other]
    assert set(lanes.values()) == set(range(len(set(lanes.values()))))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any hosts, subnets, containers, ports and arrows; subnets need not be on neighbouring hosts."""
    hosts = [f"h{number}" for number in range(draw(st.integers(1, 4)))]
    columns = tuple(Column(NodeId("host", host), "lab", ("192.0.2.1",)) for host in hosts)
    bars = []
    for number in range(draw(st.integers(0, 4))):
        there = draw(st.lists(st.sampled_from(hosts), min_size=1, unique=True))
        gateways = {host: "10.0.0.1" for host in hosts if host in there}
        bars.append(Bar(NodeId("subnet", f"s{number}"), "nat", ("10.0.0.0/24",), gateways, "routes"))
    nodes, wires = [], []
    for number in range(draw(st.integers(0, 14))):
        host = draw(st.sampled_from(hosts))
        near = [bar.id for bar in bars if host in bar.gateways]
        homes = draw(st.lists(st.sampled_from(near), unique=True, max_size=3)) if near else []
        id_ = NodeId("container", f"c{number}" * draw(st.sampled_from([1, 1, 12])))
        lines = tuple(draw(st.lists(st.sampled_from(["10.0.0.7", "x" * 60, ""]), max_size=4)))
        nodes.append(GraphNode(id_, host, id_.name, (id_.name,), lines, homes[0].name if homes else ""))
        wires += [Wire("cable", id_, home, f"cable {home.name}") for home in homes]
        if draw(st.booleans()):
            at = draw(st.sampled_from(hosts))
            port = NodeId("ports", id_.name, at)
            nodes.append(GraphNode(port, at, "to it", (), ("80 → 80/tcp",)))
            wires += [Wire("cable", port, NodeId("host", at), f"listen {at}"), Wire("port", port, id_, f"port {id_}")]
    ends = [OUTSIDE, *(each.id for each in columns), *(each.id for each in bars), *(each.id for each in nodes)]
    for number in range(draw(st.integers(0, 8))):
        source, target = draw(st.sampled_from(ends)), draw(st.sampled_from(ends))
        if source != target:
            wires.append(Wire("policy", source, target, f"policy {number % 3} {target}", "tcp 80"))
    has_outside = any(OUTSIDE in (wire.source, wire.target) for wire in wires)
    return Graph("any", "", columns, tuple(bars), tuple(nodes), tuple(wires), has_outside)


@settings(max_examples=150)
@given(graphs())
def test_nothing_overlaps_in_any_graph(graph: Graph) -> None:
    """Whatever is connected with what, every node and every wire between two hosts of the picture has its place."""
    picture = lay_out(graph)
    check(picture)
    assert {each.node.id for each in picture.nodes} == {node.id for node in graph.nodes}
    assert len(picture.wires) == len(graph.wires) or not (graph.bars or graph.nodes)
