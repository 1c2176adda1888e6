"""A graph as JSON, for programs: the values of `graph.model`, with identities as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.graph.model import FORMAT_VERSION, Badge, Cell, Detail, Graph


def compile_document(graph: Graph) -> dict[str, Any]:
    """What `netctl graph --format json` prints. Lists are there if they are empty, too."""
    return {
        "format_version": FORMAT_VERSION,
        "topology": graph.name,
        "path": graph.path,
        "hosts": [
            {"id": str(each.id), "name": each.id.name, "connect": each.connect, "addresses": list(each.addresses), **_rest(each)}
            for each in graph.columns
        ],
        "subnets": [
            {
                "id": str(each.id), "name": each.id.name, "mode": each.mode, "cidrs": list(each.cidrs), "join": each.join,
                "gateways": dict(each.gateways), **_rest(each),
            }
            for each in graph.bars
        ],
        "nodes": [
            {
                "id": str(each.id), "shape": each.id.shape, "host": each.host, "title": each.title, "names": list(each.names),
                "lines": list(each.lines), "subnet": each.band, **_rest(each),
            }
            for each in graph.nodes
        ],
        "wires": [
            {
                "kind": each.kind, "source": str(each.source), "target": str(each.target), "bundle": each.bundle,
                "label": each.label, **_rest(each),
            }
            for each in graph.wires
        ],
        "expectations": [_cell(each) for each in graph.cells],
        "explanations": [
            {"source": each.source, "target": each.target, "verdict": each.verdict, "hops": list(each.hops)}
            for each in graph.explanations
        ],
        "notes": list(graph.notes),
    }  # fmt: skip


def _cell(cell: Cell) -> dict[str, Any]:
    reasons = list(cell.reasons)
    return {"source": cell.source, "target": cell.target, "symbol": cell.symbol, "reasons": reasons, "question": cell.question}


def _rest(each: Any) -> dict[str, Any]:
    return {"badge": _badge(each.badge), "details": _details(each.details)}


def _badge(badge: Badge) -> dict[str, Any]:
    return {"state": badge.state, "sign": badge.sign, "texts": list(badge.texts)}


def _details(details: Iterable[Detail]) -> list[dict[str, str]]:
    return [detail._asdict() for detail in details]
