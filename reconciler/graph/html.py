"""A graph as one page: the picture, what a click shows, the matrix of verification, and the path between two nodes. Pure.

The page has its script and its data in itself. Its content security policy forbids everything from elsewhere, and other
scripts. So a name can start nothing, even if an escape were missing.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from typing import Any

from reconciler.graph.document import compile_document
from reconciler.graph.model import Graph
from reconciler.graph.picture import Picture
from reconciler.graph.svg import quote, read_asset, render_svg
from reconciler.state.visible import visible_line

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Signs by which a text could end a script element (HTML, "restrictions for contents of script elements"), or a line."""


def render_html(picture: Picture) -> str:
    """The whole file."""
    graph, script = picture.graph, read_asset("page.js")
    parts = {
        "TITLE": quote(f"{graph.name}: netctl graph"),
        "NAME": quote(graph.name),
        "SUMMARY": quote(graph.summary),
        "POLICY": _policy(script),
        "STYLE": read_asset("page.css") + read_asset("picture.css"),
        "PICTURE": render_svg(picture, with_style=False),
        "DATA": quote_json(page_data(graph)),
        "SCRIPT": script,
    }
    # In one pass: what a part holds is not searched again.
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], read_asset("page.html"))


def page_data(graph: Graph) -> dict[str, Any]:
    """What the page needs besides the picture. Reasons that repeat are written once.

    Texts are escaped as in the picture, so that identities agree, and no character reorders others.
    """
    document = dataclasses.asdict(compile_document(graph))
    reasons = {text: number for number, text in enumerate(dict.fromkeys(text for cell in graph.cells for text in cell.reasons))}
    data = {
        **document,
        "expectations": [
            [each.source, each.target, each.symbol, [reasons[text] for text in each.reasons], each.question]
            for each in graph.cells
        ],
        "reasons": list(reasons),
    }
    return {key: _visible(value) for key, value in data.items()}


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible_line(value)
    if isinstance(value, dict):
        return {_visible(key): _visible(each) for key, each in value.items()}
    return [_visible(each) for each in value] if isinstance(value, (list, tuple)) else value


def quote_json(value: Any) -> str:
    """JSON that can stand in a script element of HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(_ESCAPES.get(char, char) for char in text)


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
