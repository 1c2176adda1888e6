"""The values of a picture: columns, bars, nodes and wires. They hold text and no coordinates.

Texts are as the file and the hosts give them. Each output format escapes them by its own rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from reconciler.state.subject import Subject

FORMAT_VERSION = 1
"""The version of the JSON form."""

Shape = Literal["outside", "host", "subnet", "container", "ports"]
WireKind = Literal["cable", "policy", "port"]


class NodeId(NamedTuple):
    """The identity of a thing in the picture. `host` is empty for the outside, for subnets and for containers."""

    shape: Shape
    name: str = ""
    host: str = ""

    def __str__(self) -> str:
        """The text in an attribute of the picture, and in JSON."""
        return ":".join(part for part in self if part)


OUTSIDE = NodeId("outside")


@dataclass(frozen=True, slots=True)
class Badge:
    """How a thing is now, and what an apply would do with it.

    `state` is a word of `netctl status`, "" if it was not read. `sign` is one of `netctl diff`.
    """

    state: str = ""
    sign: str = ""
    texts: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The badge in a few words; "" for what is in step and stays."""
        sign = {"+": "+ is added", "~": "~ is changed", "-": "- is removed", "": ""}[self.sign]
        return ", ".join(filter(None, (sign, "" if self.state == IN_STEP else self.state)))


IN_STEP = "in step"
NO_BADGE = Badge()
Badges = Mapping[tuple[str, Subject], Badge]
"""By host and subject. A policy and a subnet may have a badge on each host."""


class Detail(NamedTuple):
    """One line of what a click shows."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """A host."""

    id: NodeId
    connect: str
    addresses: tuple[str, ...]
    badge: Badge = NO_BADGE
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A subnet, from its first host to its last one.

    `gateways` has each host of the subnet with the host's own address there, or "". `join` is the word for what connects
    these hosts.
    """

    id: NodeId
    mode: str
    cidrs: tuple[str, ...]
    gateways: Mapping[str, str]
    join: str = ""
    badge: Badge = NO_BADGE
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A container, replicas that share one node, or the published ports of a host that lead to such a node.

    `band` is the subnet in whose band it stands; "" stands for none. `names` are all containers that it stands for.
    """

    id: NodeId
    host: str
    title: str
    names: tuple[str, ...]
    lines: tuple[str, ...]
    band: str = ""
    badge: Badge = NO_BADGE
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable, or an arrow: a policy or the way of a published port. Wires of one `bundle` share their lanes and their tip."""

    kind: WireKind
    source: NodeId
    target: NodeId
    bundle: str
    label: str = ""
    badge: Badge = NO_BADGE
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """What `netctl verify` expects between two names: "ok" for may pass, "-" for must not, "ok -" for both by port.

    `question` is what to ask `netctl explain` about the target: `db:5432/tcp`; "" if the pair is one of attackers.
    """

    source: str
    target: str
    symbol: str
    reasons: tuple[str, ...]
    question: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The path of a packet between two names, hop by hop: the words that a page shows if both are chosen."""

    source: str
    target: str
    verdict: str
    hops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The whole picture."""

    name: str
    path: str
    columns: tuple[Column, ...]
    bars: tuple[Bar, ...]
    nodes: tuple[GraphNode, ...]
    wires: tuple[Wire, ...]
    has_outside: bool = False
    summary: str = ""
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    explanations: tuple[Explanation, ...] = field(default=())
