"""The JSON form of a graph, for programs: what `netctl graph --json` prints. Pure.

Identities are text, and connect wires with what they join: `container:web`. The schema is generated from these dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.graph.model import FORMAT_VERSION, Badge, Detail, Graph


@dataclass(frozen=True, slots=True)
class DrawnDetail:
    """One line of what a click shows; `word` may be empty."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class DrawnBadge:
    """`state` is a word of `netctl status`, and "" without --live. `sign` is one of `netctl diff`, and "" without --plan."""

    state: str
    sign: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrawnHost:
    """A column."""

    id: str
    name: str
    connect: str
    addresses: tuple[str, ...]
    badge: DrawnBadge
    details: tuple[DrawnDetail, ...]


@dataclass(frozen=True, slots=True)
class DrawnSubnet:
    """A bar. `gateways` has each host of the subnet with its own address there; `join` is what connects the hosts."""

    id: str
    name: str
    mode: str
    cidrs: tuple[str, ...]
    join: str
    gateways: Mapping[str, str]
    badge: DrawnBadge
    details: tuple[DrawnDetail, ...]


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A container, replicas that share a node, or published ports of a host. `names` are the containers it stands for."""

    id: str
    shape: str
    host: str
    title: str
    names: tuple[str, ...]
    lines: tuple[str, ...]
    subnet: str
    badge: DrawnBadge
    details: tuple[DrawnDetail, ...]


@dataclass(frozen=True, slots=True)
class DrawnWire:
    """A cable, a policy, or the way of a published port. Wires of one `bundle` are drawn as one line."""

    kind: str
    source: str
    target: str
    bundle: str
    label: str
    badge: DrawnBadge
    details: tuple[DrawnDetail, ...]


@dataclass(frozen=True, slots=True)
class DrawnExpectation:
    """What `netctl verify` expects between two names: `ok` may pass, `-` must not, `ok -` some packets may.

    `question` is what to ask `netctl explain` about the target; "" for an attacker.
    """

    source: str
    target: str
    symbol: str
    reasons: tuple[str, ...]
    question: str


@dataclass(frozen=True, slots=True)
class DrawnPath:
    """The path of `netctl explain` between two names, as far as it was asked for."""

    source: str
    target: str
    verdict: str
    hops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GraphDocument:
    """A whole topology."""

    format_version: int
    topology: str
    path: str
    hosts: tuple[DrawnHost, ...]
    subnets: tuple[DrawnSubnet, ...]
    nodes: tuple[DrawnNode, ...]
    wires: tuple[DrawnWire, ...]
    expectations: tuple[DrawnExpectation, ...]
    paths: tuple[DrawnPath, ...]
    notes: tuple[str, ...]


def compile_document(graph: Graph) -> GraphDocument:
    """The document of a graph."""
    return GraphDocument(
        FORMAT_VERSION,
        graph.name,
        graph.path,
        tuple(
            DrawnHost(str(each.id), each.id.name, each.connect, each.addresses, _badge(each.badge), _details(each.details))
            for each in graph.columns
        ),
        tuple(
            DrawnSubnet(
                str(each.id), each.id.name, each.mode, each.cidrs, each.join, each.gateways, _badge(each.badge),
                _details(each.details),
            )
            for each in graph.bars
        ),
        tuple(
            DrawnNode(
                str(each.id), each.id.shape, each.host, each.title, each.names, each.lines, each.band, _badge(each.badge),
                _details(each.details),
            )
            for each in graph.nodes
        ),
        tuple(
            DrawnWire(
                each.kind, str(each.source), str(each.target), each.bundle, each.label, _badge(each.badge), _details(each.details)
            )
            for each in graph.wires
        ),
        tuple(DrawnExpectation(each.source, each.target, each.symbol, each.reasons, each.question) for each in graph.cells),
        tuple(DrawnPath(each.source, each.target, each.verdict, each.hops) for each in graph.explanations),
        graph.notes,
    )  # fmt: skip


def _badge(badge: Badge) -> DrawnBadge:
    return DrawnBadge(badge.state, badge.sign, badge.texts)


def _details(details: Iterable[Detail]) -> tuple[DrawnDetail, ...]:
    return tuple(DrawnDetail(detail.word, detail.text) for detail in details)
