"""A graph in the language of Graphviz (graphviz.org/doc/info/lang.html), for its own layouts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.graph.keys import drawable, number_ids
from reconciler.graph.model import OUTSIDE, Graph
from reconciler.state.visible import visible_line

STYLES = {
    "cable": "dir=none, style=solid",
    "policy": "style=dashed, arrowhead=normal",
    "port": "style=dotted, arrowhead=empty",
}


def render_dot(graph: Graph) -> str:
    """A digraph; hosts are clusters."""
    keys = number_ids(graph)
    lines = [f"digraph {quote((graph.name,))} {{", '  graph [rankdir=TB, fontname="monospace"];']
    lines += ['  node [shape=box, fontname="monospace"];', '  edge [fontname="monospace"];']
    if OUTSIDE in keys:
        lines.append(f'  {keys[OUTSIDE]} [label="outside", style=dashed];')
    for bar in graph.bars:
        lines.append(f"  {keys[bar.id]} [shape=hexagon, label={quote((bar.id.name, *bar.cidrs, bar.mode, bar.badge.words))}];")
    for column in graph.columns:
        words = (column.id.name, column.connect, *column.addresses, column.badge.words)
        lines += [f"  subgraph cluster_{keys[column.id]} {{", f"    label={quote(words)};"]
        lines.append(f"    {keys[column.id]} [shape=point];")
        for node in graph.nodes:
            if node.host == column.id.name:
                style = "style=rounded, " if node.id.shape == "ports" else "peripheries=2, " if len(node.names) > 1 else ""
                lines.append(f"    {keys[node.id]} [{style}label={quote((node.title, *node.lines))}];")
        lines.append("  }")
    for wire in drawable(graph.wires, keys):
        label = f", label={quote((wire.label,))}" if wire.label else ""
        lines.append(f"  {keys[wire.source]} -> {keys[wire.target]} [{STYLES[wire.kind]}{label}];")
    return "\n".join([*lines, "}"]) + "\n"


def quote(parts: Iterable[str]) -> str:
    """A quoted string with a line for each part. Backslashes and quotes are escaped: they are Graphviz's own."""
    lines = (visible_line(part).replace("\\", "\\\\").replace('"', '\\"') for part in parts if part)
    return '"' + "\\n".join(lines) + '"'
