"""A picture as SVG: deterministic text, without scripts and without anything from elsewhere. Pure.

Each line style, swatch and border differs without its colour, so that a black and white print shows all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from reconciler.graph.grid import PAD, TEXT_LINE, TITLE_LINE, title_width
from reconciler.graph.legend import LINE, SWATCH, PlacedSample
from reconciler.graph.model import Badge, NodeId
from reconciler.graph.picture import Picture, PlacedBar, PlacedColumn, PlacedJoin, PlacedNode, PlacedWire, Rect
from reconciler.graph.rooms import MARGIN
from reconciler.state.visible import visible_line

ASSETS = Path(__file__).with_name("assets")
LABEL_MAX = 26
SIGN_CLASSES = {"+": "added", "-": "removed", "~": "changed"}
STATE_CLASSES = {"drifted": "drifted", "missing": "missing", "waiting": "waiting", "not in the file": "removed"}


def quote(text: str) -> str:
    """The text for an element or an attribute. Characters that XML forbids, and those that reorder text, are escaped."""
    return escape(visible_line(text))


def render_svg(picture: Picture, *, with_style: bool = True) -> str:
    """The whole file; without the style, for a page that has it already."""
    graph = picture.graph
    name = quote(f"{graph.name}: {graph.summary}")
    size = f'width="{picture.width}" height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}"'
    style = f"<style>\n{read_asset('picture.css')}</style>\n" if with_style else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="img" aria-label="{name}" {size}>',
        f"<title>{name}</title>",
        f"{style}<defs>\n{read_asset('defs.svg')}</defs>",
        f'<rect class="paper" width="{picture.width}" height="{picture.height}"/>',
        _text(MARGIN, 34, graph.name, "heading"),
        _text(MARGIN, 52, graph.summary, "soft"),
        *(f'<g class="column">{_rect(each.rect, rx=10)}</g>' for each in picture.columns),
        *(line for each in _by_kind(picture.wires) for line in _wire(each)),
        *(line for each in picture.joins for line in _join(each)),
        *_outside(picture.outside),
        *(line for each in picture.columns for line in _host(each)),
        *(line for each in picture.bars for line in _bar(each)),
        *(line for each in picture.nodes for line in _node(each)),
        *_plugs(picture),
        *(line for each in picture.wires for line in _label(each)),
        *_legend(picture),
        "</svg>",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def read_asset(name: str) -> str:
    """The text of a file beside this package."""
    return (ASSETS / name).read_text(encoding="utf-8")


def _by_kind(wires: Iterable[PlacedWire]) -> list[PlacedWire]:
    """Cables below arrows."""
    return sorted(wires, key=lambda each: each.wire.kind != "cable")


def _rect(rect: Rect, cls: str = "", rx: int = 0, shift: int = 0) -> str:
    place = f'x="{rect.x + shift}" y="{rect.y + shift}" width="{rect.width}" height="{rect.height}"'
    return f'<rect{_class(cls)} {place} rx="{rx}"/>'


def _class(cls: str) -> str:
    return f' class="{cls}"' if cls else ""


def _text(x: int, y: int, text: str, cls: str = "") -> str:
    return f'<text x="{x}" y="{y}"{_class(cls)}>{quote(text)}</text>' if text else ""


def _open(cls: str, id_: NodeId, badge: Badge, hint: str) -> str:
    name = SIGN_CLASSES.get(badge.sign) or STATE_CLASSES.get(badge.state, "")
    classes = f"{cls} badge-{name}" if name else cls
    return f'<g class="{quote(classes)}" data-id="{quote(str(id_))}" tabindex="0"><title>{quote(hint)}</title>'


def _outside(rect: Rect | None) -> Iterator[str]:
    if rect:
        yield _open("thing outside", NodeId("outside"), Badge(), "all nodes that are not in the file")
        yield _rect(rect, "body", rx=6)
        yield _text(rect.x + PAD, rect.y + 18, "outside", "title")
        yield "</g>"


def _host(placed: PlacedColumn) -> Iterator[str]:
    column, head = placed.column, placed.head
    name, addresses = column.id.name, ", ".join(column.addresses)
    yield _open("thing host", column.id, column.badge, f"host {name}, {column.connect} {addresses}".rstrip())
    yield _rect(head, "body", rx=10)
    yield _text(head.x + PAD, head.y + 20, name, "title")
    yield _text(head.right - PAD, head.y + 20, column.connect, "end")
    words = column.badge.words
    yield _text(head.x + PAD, head.y + 38, "  ".join(filter(None, (words, addresses))), "badge" if words else "")
    yield "</g>"


def _bar(placed: PlacedBar) -> Iterator[str]:
    bar, rect = placed.bar, placed.rect
    name, cidrs = bar.id.name, ", ".join(bar.cidrs)
    yield _open(f"thing subnet mode-{bar.mode}", bar.id, bar.badge, f"subnet {name}, {cidrs}, {bar.mode}")
    yield _rect(rect, "body", rx=5)
    yield _rect(Rect(rect.x, rect.y, SWATCH, rect.height), "swatch", rx=5)
    x = rect.x + SWATCH + PAD
    yield _text(x, rect.y + 16, name, "title")
    yield _text(x + title_width(name) + PAD, rect.y + 16, bar.mode, "soft")
    yield _text(rect.right - PAD, rect.y + 16, bar.gateways[placed.host], "end soft")
    words = bar.badge.words
    yield _text(x, rect.y + 32, cidrs if placed.is_first else "", "soft")
    yield _text(rect.right - PAD, rect.y + 32, words, "end badge")
    yield "</g>"


def _join(placed: PlacedJoin) -> Iterator[str]:
    """Tunnels are a double line, routes and LANs a single one."""
    join, y = placed.bar.join, placed.y
    is_plain = join in ("routes", "LAN", "")
    for shift in (0,) if is_plain else (-3, 3):
        yield f'<path class="join" d="M{placed.x1} {y + shift}H{placed.x2}"/>'
    yield _text((placed.x1 + placed.x2) // 2, y - 7, join, "middle halo label")


def _node(placed: PlacedNode) -> Iterator[str]:
    node, rect = placed.node, placed.rect
    many = len(node.names) > 1
    yield _open(f"thing {node.id.shape}", node.id, node.badge, ", ".join((node.title, *node.lines)))
    if many:
        yield _rect(rect, "behind", rx=6, shift=6)
        yield _rect(rect, "behind", rx=6, shift=3)
    yield _rect(rect, "body", rx=14 if node.id.shape == "ports" else 6)
    y = rect.y + PAD + 10
    for line in placed.text.title:
        yield _text(rect.x + PAD, y, line, "title")
        y += TITLE_LINE
    last = node.badge.words
    for line in placed.text.lines:
        yield _text(rect.x + PAD, y - 1, line, "badge" if last and line == last else "soft")
        y += TEXT_LINE
    yield "</g>"


def _wire(placed: PlacedWire) -> Iterator[str]:
    wire = placed.wire
    name = SIGN_CLASSES.get(wire.badge.sign) or STATE_CLASSES.get(wire.badge.state, "")
    # From the target on: the dashes of wires with one end then coincide where these share a lane.
    path = "M" + "L".join(f"{x} {y}" for x, y in reversed(placed.points))
    ends = f'data-from="{quote(str(wire.source))}" data-to="{quote(str(wire.target))}" data-bundle="{quote(wire.bundle)}"'
    tip = "" if wire.kind == "cable" else f' marker-start="url(#tip-{wire.kind})"'
    under = "" if wire.kind == "cable" else f'<path class="under" d="{path}"/>'
    yield f'<g class="{" ".join(filter(None, ("wire", wire.kind, name and f"badge-{name}")))}" {ends}>'
    yield f'{under}<path class="line" d="{path}"{tip}/></g>'


def _plugs(picture: Picture) -> Iterator[str]:
    """A dot where a cable meets a bar: a cable without one only passes behind it."""
    ends = dict.fromkeys(each.points[-1] for each in picture.wires if each.wire.kind == "cable")
    yield from (f'<circle class="plug" cx="{x}" cy="{y}" r="3.6"/>' for x, y in ends)


def _label(placed: PlacedWire) -> Iterator[str]:
    wire = placed.wire
    if wire.label:
        text = wire.label if len(wire.label) <= LABEL_MAX else f"{wire.label[: LABEL_MAX - 1]}…"
        x, y = placed.label_at
        yield f'<g class="{wire.kind}">{_text(x, y, text, "label halo")}</g>'


def _legend(picture: Picture) -> Iterator[str]:
    """Only what the picture has."""
    y = picture.legend_y
    yield f'<g class="legend"><path class="join" d="M{MARGIN} {y}H{picture.width - MARGIN}" opacity=".3"/>'
    for sample in picture.legend:
        yield _sample(sample)
        yield _text(sample.text_x, sample.y + 10, sample.words, "soft")
    yield "</g>"


def _sample(sample: PlacedSample) -> str:
    x, y = sample.x, sample.y
    if not sample.kind:
        rect = _rect(Rect(x, y - 2, SWATCH, 16), "swatch", rx=3)
        return f'<g class="subnet {quote(f"mode-{sample.words}")}">{rect}</g>'
    tip = "" if sample.kind == "cable" else f' marker-start="url(#tip-{sample.kind})"'
    return f'<g class="wire {sample.kind}"><path class="line" d="M{x + LINE} {y + 6}H{x}"{tip}/></g>'
