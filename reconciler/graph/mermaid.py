"""A graph as a Mermaid flowchart, for documents that draw it themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.graph.keys import drawable, number_ids
from reconciler.graph.model import OUTSIDE, Graph, NodeId, Wire
from reconciler.state.visible import visible_line

ARROWS = {"cable": "---", "policy": "-.->", "port": "==>"}
PLAIN = frozenset(" .,:;-_/+~\u00d7…→()[]@=")
"""Signs without a meaning for Mermaid inside of quotes; all others are written by their numbers."""


def render_mermaid(graph: Graph) -> str:
    """The text of a flowchart. Hosts are subgraphs."""
    keys = number_ids(graph)
    lines = ["flowchart TB", f"  %% {quote(graph.name)}: {quote(graph.summary)}"]
    if OUTSIDE in keys:
        lines.append(f'  {keys[OUTSIDE]}(["outside"])')
    lines += [f"  {keys[bar.id]}{{{{{_label((bar.id.name, *bar.cidrs, bar.mode, bar.badge.words))}}}}}" for bar in graph.bars]
    for column in graph.columns:
        lines.append(
            f"  subgraph {keys[column.id]}[{_label((column.id.name, column.connect, *column.addresses, column.badge.words))}]"
        )
        for node in graph.nodes:
            if node.host == column.id.name:
                open_, close = ("([", "])") if node.id.shape == "ports" else ("[", "]")
                lines.append(f"    {keys[node.id]}{open_}{_label((node.title, *node.lines))}{close}")
        lines.append("  end")
    lines += [f"  {line}" for line in _wires(graph.wires, keys)]
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """The text for Mermaid: signs with a meaning by their numbers."""
    return "".join(char if char.isalnum() or char in PLAIN else f"#{ord(char)};" for char in visible_line(text))


def _label(parts: Iterable[str]) -> str:
    return f'"{"<br>".join(quote(part) for part in parts if part)}"'


def _wires(wires: Iterable[Wire], keys: Mapping[NodeId, str]) -> Iterator[str]:
    for wire in drawable(wires, keys):
        label = f"|{_label((wire.label,))}|" if wire.label else ""
        yield f"{keys[wire.source]} {ARROWS[wire.kind]}{label} {keys[wire.target]}"
