"""The forms of a graph: well-formed, complete, and safe with any name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reconciler.cli.graph import FORMATS, render
from reconciler.graph.dot import render_dot
from reconciler.graph.html import page_data, quote_json, render_html
from reconciler.graph.layout import lay_out
from reconciler.graph.mermaid import render_mermaid
from reconciler.graph.model import Badge, Bar, Cell, Column, Detail, Graph, GraphNode, NodeId, Wire
from reconciler.graph.svg import render_svg
from reconciler.state.visible import visible_line
from tests.harness.topologies.graphs import EXAMPLES, ROOT, graph_of, picture_of, read

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a\x1b[31m\u202eb\x00c\u2028d",
    'x]--> y; click x; end %% \\" \\l #quot;',
    "]]>&amp;<!--",
    "@DATA@ @SCRIPT@",
)


def hostile_graph(name: str) -> Graph:
    """A graph in which everything has the name."""
    host, subnet, node = NodeId("host", name), NodeId("subnet", name), NodeId("container", name)
    details = (Detail(name, name),)
    return Graph(
        name,
        name,
        (Column(host, name, (name,), Badge(name, "", (name,)), details),),
        (Bar(subnet, name, (name,), {name: name}, name, Badge(), details),),
        (GraphNode(node, name, name, (name,), (name,), name, Badge("drifted", "", (name,)), details),),
        (Wire("cable", node, subnet, name), Wire("policy", subnet, node, name, name, Badge(), details)),
        summary=name,
        cells=(Cell(name, name, "ok", (name,)),),
        notes=(name,),
    )


def texts_of(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_names_occur_where_they_must(path: Path) -> None:
    """A host's name is in its head, a subnet's in its bar on each of its hosts, a container's in its node."""
    graph = graph_of(read(path))
    root = ET.fromstring(render_svg(lay_out(graph)))
    shown: dict[str, list[str]] = {}
    for group in root.iter(f"{SVG}g"):
        if id_ := group.get("data-id"):
            shown.setdefault(id_, []).append(" ".join(text.text or "" for text in group.iter(f"{SVG}text")))
    for column in graph.columns:
        assert column.id.name in shown[str(column.id)][0]
    for bar in graph.bars:
        assert len(shown[str(bar.id)]) == len(bar.gateways)
        assert all(bar.id.name in text for text in shown[str(bar.id)])
        assert all(cidr in shown[str(bar.id)][0] for cidr in bar.cidrs)
    for node in graph.nodes:
        assert node.title in " ".join(shown[str(node.id)]), node.id


def test_svg_has_all_words_of_the_demo() -> None:
    """Addresses, ports, modes and policies stand in the picture, and no script does."""
    svg = render_svg(picture_of(read(EXAMPLES[0])))
    texts = texts_of(svg)
    for words in (
        "10.44.0.10",
        "8080 → 80/tcp",
        "tcp 5432",
        "nat",
        "isolated",
        "worker \u00d73",
        "outside",
        "192.0.2.11, 2001:db8::11",
    ):
        assert words in texts
    assert "<script" not in svg
    assert "http://" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_in_the_documents_is_the_demo() -> None:
    """docs/shop.svg is what `netctl graph topology.yaml` draws: `.venv/bin/netctl graph -o docs/shop.svg` renews it."""
    assert (ROOT / "docs/shop.svg").read_text() == render_svg(picture_of(read(EXAMPLES[0])))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_svg(name: str) -> None:
    """The file is well-formed, has no element that the picture would not have, and no raw control or bidi character."""
    svg = render_svg(lay_out(hostile_graph(name)))
    plain = render_svg(lay_out(hostile_graph("plain")))
    tags = {element.tag for element in ET.fromstring(svg).iter()}
    assert tags <= {element.tag for element in ET.fromstring(plain).iter()}
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2028]", svg)
    attributes = {key for element in ET.fromstring(svg).iter() for key in element.keys()}  # noqa: SIM118  elements are no mappings
    assert not {key for key in attributes if key.startswith("on")}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_end_no_script_element(name: str) -> None:
    """In a page the data stays JSON, the elements stay as many, and what a name says about the template has no effect."""
    page = render_html(lay_out(hostile_graph(name)))
    plain = render_html(lay_out(hostile_graph("plain")))
    for tag in ("<script", "</script", "<img", "<style"):
        assert page.count(tag) == plain.count(tag)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert json.loads(data[1])["nodes"][0]["title"] == visible_line(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_quoted_in_other_languages(name: str) -> None:
    """Mermaid and Graphviz get as many lines as with a plain name, and a quoted text ends where it should."""
    for form in (render_mermaid, render_dot):
        text, plain = form(hostile_graph(name)), form(hostile_graph("plain"))
        assert text.count("\n") == plain.count("\n")
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
        assert '"' not in outside.replace('""', "")
    body = render_mermaid(hostile_graph(name)).split("\n", 2)[2]
    assert set("<>") & set(re.sub("<br>|-->|-\\.->|==>", "", body)) == set()


def test_json_has_everything() -> None:
    """Lists are there if they are empty, too, and identities connect wires with what they join."""
    document = json.loads(render(graph_of(read(EXAMPLES[0])), "json"))
    assert document["format_version"] == 1
    schema = json.loads((ROOT / "schemas/graph.schema.json").read_text())["$defs"]
    assert list(document) == schema["GraphDocument"]["required"] == list(schema["GraphDocument"]["properties"])
    assert all(list(each) == schema["DrawnNode"]["required"] for each in document["nodes"])
    ids = {each["id"] for part in ("hosts", "subnets", "nodes") for each in document[part]} | {"outside"}
    assert all({wire["source"], wire["target"]} <= ids for wire in document["wires"])
    assert document["paths"] == []
    assert document["nodes"][0]["badge"] == {"state": "", "sign": "", "texts": []}


def test_the_data_of_a_page_writes_each_reason_once() -> None:
    """The reasons of cells are numbers into one list."""
    data = page_data(graph_of(read(EXAMPLES[0])))
    assert len(data["reasons"]) == len(set(data["reasons"]))
    assert all(number < len(data["reasons"]) for cell in data["expectations"] for number in cell[3])
    assert "<" not in quote_json({"name": "</script>"})


def test_a_page_loads_nothing() -> None:
    """Its policy allows no source, its script is allowed by its hash, and no address of another place is in it."""
    page = render_html(picture_of(read(EXAMPLES[0])))
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/]{43}='", page)
    assert not re.search(r"(?:src|href)=|url\((?!#)|@import", page)


def test_mermaid_knows_hosts_as_subgraphs() -> None:
    """A short flowchart: one subgraph for each host, and no wire from what is inside of a host to that host."""
    text = render_mermaid(graph_of(read(EXAMPLES[0])))
    assert text.startswith("flowchart TB\n")
    assert text.count("subgraph ") == 2
    assert '-.->|"tcp 5432"|' in text
    assert "n12 --- n1\n" not in text


def test_every_format_is_text_with_a_line_end() -> None:
    """What is printed ends with one line end."""
    for form in FORMATS:
        text = render(graph_of(read(EXAMPLES[0])), form)
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
