"""A packet, what connection tracking knows of it on each host, and the hops of its path."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from reconciler.explain.tables import Hit
from reconciler.state.record import Record

Protocol = Literal["tcp", "udp", "sctp", "icmp"]
CLIENT_PORT = 40000
"""The source port of the packets here: one that a kernel gives to clients (net.ipv4.ip_local_port_range)."""
TTL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedPacket:
    """An IP packet. `icmp` is an echo request, or with `is_reply` its answer; ports are 0 then."""

    source: str
    target: str
    protocol: Protocol
    source_port: int = 0
    port: int = 0
    is_reply: bool = False
    """Whether it is the first answer of its connection."""
    inner: Frame | None = None
    """Of a tunnel's packet: the frame inside."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.target else 4

    @property
    def answer(self) -> WalkedPacket:
        """The first packet in the other direction."""
        return replace(self, source=self.target, target=self.source, source_port=self.port, port=self.source_port, is_reply=True)

    def __str__(self) -> str:
        """For people: `tcp 10.44.0.10 > 10.45.0.20:5432`."""
        port = f":{self.port}" if self.port else ""
        target = f"[{self.target}]" if port and self.family == 6 else self.target
        return f"{self.protocol} {self.source} > {target}{port}"


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet on a link: with the hardware addresses of its sender and its receiver."""

    packet: WalkedPacket
    source_mac: str
    target_mac: str


@dataclass(frozen=True, slots=True)
class TrackedConnection:
    """An entry of connection tracking on a host: its first packet as it came, and as it left."""

    first: WalkedPacket
    sent: WalkedPacket
    is_dnat: bool = False
    is_snat: bool = False

    def answers(self, packet: WalkedPacket) -> bool:
        """Whether a packet is in the direction of the answers."""
        mine = (self.sent.target, self.sent.source, self.sent.protocol, self.sent.port, self.sent.source_port)
        return mine == (packet.source, packet.target, packet.protocol, packet.source_port, packet.port)


@dataclass(frozen=True, slots=True)
class SwitchVisit:
    """A frame at a switch with flows: the bridge, the frame in the switch's words, and the flows that it matches."""

    host: str
    bridge: str
    flow: str
    rules: tuple[tuple[int, int, str], ...]
    """Table, priority and match of each."""


Layer = Literal[
    "route",
    "neighbor",
    "link",
    "bridge",
    "filter",
    "translate",
    "fast path",
    "tunnel",
    "network",
    "flow",
    "stacked",
    "arrives",
    "ends",
]
"""What a hop is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of a packet's way, where it is taken, and what decides it.

    `place` is the node for people: a container, a host, `router` or `outside`. `host` has the record in its state.
    """

    host: str
    netns: str
    place: str
    layer: Layer
    words: str
    record: Record | None = None
    dev: str = ""
    """Of a route: the link by which the packet leaves."""
    rules: int = 0
    """How many rules the packet had matched by then, on all hosts."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A rule that the packet matches on a host.

    With `is_optional` it does so only if the kernel shows bridged frames to the host's firewall, too (br_netfilter).
    """

    host: str
    hit: Hit
    is_optional: bool = False


End = Literal["arrives", "refused", "dropped", "lost", "leaves", "unknown"]
"""How a path ends: the packet arrives, or it leaves the topology. It is refused with an error, or dropped silently.

It is lost if no route, neighbor or entry leads to the target. It is unknown if the records do not determine it.
"""


@dataclass(slots=True)
class Trail:
    """A path while it is walked: it grows."""

    hops: list[Hop] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    end: End = "unknown"
    reason: str = ""
    cause: str = ""
    """A word for the remedy."""
    source: str = ""
    """The source address with which it starts."""
    packets: list[WalkedPacket] = field(default_factory=list)
    """The packet in all its forms, without those of tunnels."""
    links: list[tuple[str, str]] = field(default_factory=list)
    """The host and the name of each link by which a frame comes in to a host."""
    visits: list[SwitchVisit] = field(default_factory=list)
