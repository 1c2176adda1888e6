"""The picture and the page in a real browser: what a user sees, clicks and searches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from reconciler.graph.html import render_html
from reconciler.graph.layout import lay_out
from reconciler.graph.model import Graph
from reconciler.graph.svg import render_svg
from reconciler.topology.load import parse_topology
from tests.harness.browser import Browser, count_colours, open_browser
from tests.harness.capabilities import require_capability
from tests.harness.topologies.graphs import EXAMPLES, graph_of, make_large, picture_of, read
from tests.unit.graph.test_formats import HOSTILE, hostile_graph

SHAPES = """
const shapes = [...document.querySelectorAll("[data-id] > .body")].map((body) => [body.parentNode.dataset.id, body]);
return shapes.map(([id, body]) => { const box = body.getBBox(); return [id, box.x, box.y, box.width, box.height]; });
"""
TEXTS = """
return [...document.querySelectorAll("[data-id]")].flatMap((thing) => {
  const body = thing.querySelector(".body").getBBox();
  return [...thing.querySelectorAll("text")].map((text) => {
    const box = text.getBBox();
    const inside = box.x >= body.x && box.x + box.width <= body.x + body.width
      && box.y >= body.y - 1 && box.y + box.height <= body.y + body.height + 1;
    return [thing.dataset.id, text.textContent, inside];
  });
});
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    require_capability("chromium")
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The page of the demo."""
    return show(browser, graph_of(read(EXAMPLES[0])), tmp_path)


def show(browser: Browser, graph: Graph, folder: Path) -> Browser:
    file = folder / "page.html"
    file.write_text(render_html(lay_out(graph)), encoding="utf-8")
    browser.open(file)
    return browser


def check_drawn(browser: Browser) -> None:
    """As the browser measures it: shapes are apart and in the view box, and each text is inside of its shape."""
    width, height = browser.run("const b = document.querySelector('svg').viewBox.baseVal; return [b.width, b.height];")
    shapes: list[list[Any]] = browser.run(SHAPES)
    assert shapes
    for id_, x, y, wide, high in shapes:
        assert x >= 0, id_
        assert y >= 0, id_
        assert x + wide <= width, id_
        assert y + high <= height, id_
    for (one, x, y, wide, high), (other, x2, y2, wide2, high2) in combinations(shapes, 2):
        assert x >= x2 + wide2 or x2 >= x + wide or y >= y2 + high2 or y2 >= y + high, f"{one} and {other}"
    outside = [(id_, text) for id_, text, inside in browser.run(TEXTS) if not inside]
    assert outside == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_drawn_inside_and_apart(browser: Browser, tmp_path: Path, path: Path) -> None:
    """In the browser's own measures, no shapes overlap, none leaves the view box, and every text fits into its shape."""
    show(browser, graph_of(read(path)), tmp_path)
    check_drawn(browser)
    assert browser.errors() == []


def test_long_names_fit(browser: Browser, tmp_path: Path) -> None:
    """Names of 63 characters, and IPv6 ranges, are drawn in full inside of their shapes."""
    long = "x" * 60
    text = f"""\
version: 1
name: a-long-name
hosts: {{h1{long}: {{connect: lab, address: [192.0.2.11, "2001:db8::11"]}}, h2: {{connect: lab, address: 192.0.2.12}}}}
subnets: {{s1{long}: {{cidr: [10.44.0.0/24, "fd00:1234:5678:9abc::/64"]}}, s2: {{cidr: 10.45.0.0/24}}}}
containers:
  c1{long}: {{host: h1{long}, networks: {{s1{long}: auto}}, ports: ["8080:80"]}}
  c2{long}: {{host: h2, networks: {{s2: auto, s1{long}: auto}}}}
policies: [{{allow: c2{long}, to: s1{long}, ports: [80/tcp, 443/tcp, 8000-8080/udp]}}]
"""
    show(browser, graph_of(parse_topology(text.encode())), tmp_path)
    check_drawn(browser)
    assert browser.errors() == []


def test_three_hundred_containers_are_drawn(browser: Browser, tmp_path: Path) -> None:
    """A large topology is drawn by the same rules, and the page answers a click."""
    show(browser, graph_of(make_large(300)), tmp_path)
    check_drawn(browser)
    browser.run(
        "document.querySelector('[data-id=\"container:cart-a\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert "cart-a" in browser.text("#details")
    browser.click("#show-matrix")
    assert "click a container to see its row" in browser.text("#matrix")


def test_a_picture_is_not_blank(tmp_path: Path) -> None:
    """The SVG by itself has paper, ink, and the colours of a bar; so it would have them in black and white."""
    require_capability("chromium")
    file = tmp_path / "shop.svg"
    file.write_text(render_svg(picture_of(read(EXAMPLES[0]))), encoding="utf-8")
    with open_browser(tmp_path / "browser", 900, 700) as browser:
        browser.open(file)
        colours = count_colours(browser.screenshot())
    total = sum(colours.values())
    assert len(colours) > 50
    assert 0.3 < colours[b"\xff\xff\xff"] / total < 0.95
    assert colours[bytes.fromhex("26323f")] > 500
    assert colours[bytes.fromhex("dbe8f8")] > 500


def test_a_click_shows_details(page: Browser) -> None:
    """A container shows its host, addresses, ports, policies and the line of the file; an arrow shows what it allows."""
    page.click('[data-id="container:web"]')
    text = page.text("#details")
    line = read(EXAMPLES[0]).position(("containers", "web")).line
    for words in ("alpha", "10.44.0.10/24", "8080 → 80/tcp on alpha", "from web to db: tcp 5432", f"topology.yaml:{line}"):
        assert words in text
    page.click('[data-id="subnet:back"]')
    assert "isolated" in page.text("#details")
    page.run("document.querySelector('.wire.policy').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert "from web to db" in page.text("#details")
    assert page.errors() == []


def test_two_chosen_containers_have_a_path(page: Browser) -> None:
    """A second click with Shift draws the path between both, and says with reasons what may pass."""
    page.click('[data-id="container:web"]')
    page.click('[data-id="container:db"]', shift=True)
    assert page.text("#verdict") == "ok - web to db: some packets may pass, others must not"
    assert "tcp to 10.45.0.20 port 5432 may pass: a policy allows tcp 5432" in page.text("#details")
    lit = page.run("return [...document.querySelectorAll('.wire.on')].map((wire) => wire.dataset.bundle)")
    assert lit == ["policy to db tcp 5432"]
    # And by the button, from the keyboard's point of view: api and web share the subnet front.
    page.click('[data-id="container:api"]')
    page.click("#path-to")
    page.click('[data-id="container:web"]')
    assert page.text("#verdict") == "ok api to web: may connect"
    lit = page.run("return [...document.querySelectorAll('.wire.on')].map((wire) => wire.dataset.from)")
    assert sorted(lit) == ["container:api", "container:web"]


def test_an_explanation_is_shown_hop_by_hop(browser: Browser, tmp_path: Path) -> None:
    """Where the graph has the path of `netctl explain`, a choice of both ends shows its hops in order."""
    from dataclasses import replace

    from reconciler.graph.model import Explanation

    graph = replace(
        graph_of(read(EXAMPLES[0])), explanations=(Explanation("web", "db", "passes", ("web: route", "alpha: bridge")),)
    )
    page = show(browser, graph, tmp_path)
    page.click('[data-id="container:web"]')
    page.click('[data-id="container:db"]', shift=True)
    assert page.run("return [...document.querySelectorAll('#details ol li')].map((item) => item.textContent)") == [
        "web: route",
        "alpha: bridge",
    ]
    assert page.run("return [...document.querySelectorAll('.host.on')].map((each) => each.dataset.id)") == ["host:alpha"]


def test_search_finds_names_and_addresses(page: Browser) -> None:
    """A word marks what has it; Enter shows the first one."""
    page.type("#search", "10.46.0.53")
    assert page.run("return [...document.querySelectorAll('.found')].map((each) => each.dataset.id)") == ["container:dns"]
    assert page.text("#found") == "1 found"
    before = page.run("return document.querySelector('svg').getAttribute('viewBox')")
    page.type("#search", "\n")
    assert page.run("return document.querySelector('svg').getAttribute('viewBox')") != before
    assert "dns" in page.text("#details h2")


def test_zoom_and_pan(page: Browser) -> None:
    """The buttons change the scale, and `fit` shows all again."""
    box = "return document.querySelector('svg').getAttribute('viewBox').split(' ').map(Number)"
    whole = page.run(box)
    page.click("#larger")
    assert page.run(box)[2] < whole[2]
    page.click("#fit")
    assert page.run(box) == whole
    page.click("#smaller")
    assert page.run(box)[2] > whole[2]


def test_each_cell_of_the_matrix_has_its_reasons(page: Browser) -> None:
    """The matrix has a row for each sender; a click on a cell lists why."""
    page.click("#show-matrix")
    cell = '[data-cell="web > db"]'
    assert page.text(cell) == "ok -"
    page.run("document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true}))", cell)
    assert "a policy allows tcp 5432" in page.text("#reason")
    senders = page.run("return [...document.querySelectorAll('#matrix tbody th')].map((each) => each.textContent)")
    assert {"web", "db", "host alpha", "outside", "a neighbour"} <= set(senders)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path, name: str) -> None:
    """No name starts a script or adds an element; it is shown as text, and the page works."""
    page = show(browser, hostile_graph(name), tmp_path)
    assert page.run("return document.querySelectorAll('script, img').length") == 2
    page.click(".container")
    assert page.text("#details h2").strip() != ""
    assert page.run("return document.querySelectorAll('script, img').length") == 2
    assert page.errors() == []
