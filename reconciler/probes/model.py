"""Probes, listeners and results: plain values, sent to the workers and back as JSON by `state.codec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.state.foreign import TransportProtocol

IN_SUBNETS = "subnets"
WITH_HOST = "host"
TO_OUTSIDE = "outside"
PUBLISHED = "published ports"
ALLOWED = "policies"
ROUTES = "static routes"
NAMES = "names"
FORBIDDEN = "forbidden"

OUTCOMES = ("answered", "refused", "silent", "wrong", "unsent", "skipped")
"""The possible outcomes of a probe (`Finding`)."""

DEFAULT_GATEWAY = "default gateway"
"""The address of a probe to the probing host's default gateway, which is looked up when the probe runs."""

FOREIGN_NETNS = "foreign:link"
"""The namespace of a probe from the remote end of a foreign link of the host, which is created when a probe starts there."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A short-lived server that a probe needs: the worker of `host` opens it, in `netns`, on every address of `family`.

    It answers with `token`, so that the client can identify it.
    """

    host: str
    netns: str
    protocol: TransportProtocol
    family: int
    port: int
    token: str


PacketKind = Literal["icmp", "tcp", "udp", "sctp"]
SegmentKind = Literal["tcp", "udp"]
FrameKind = Literal["link-local group", "router advertisement", "unknown address", "by its gateway"]
ClaimKind = Literal["arp", "ndp", "advertisement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBase:
    """What all probes have: one question to the network, and the answer that the topology file leads to.

    `host` is the worker that asks, `netns` where it asks from. What only some probes have is empty in others.
    """

    host: str
    netns: str
    source: str
    target: str
    section: str
    address: str
    expected: bool
    why: str
    subnet: str = ""

    @property
    def port(self) -> int:
        """The port of `address`."""
        return 0

    @property
    def size(self) -> int:
        """The size of the whole packet in bytes, if it is not a small one."""
        return 0

    @property
    def listener(self) -> Listener | None:
        """The server that should answer, if netctl opens one."""
        return None

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketProbe(ProbeBase):
    """A packet that the kernel of the probing namespace makes: an echo request, a connection or a datagram.

    A packet with a `size` has DF set. With `via`, an echo request goes to that on-link neighbor whatever the routes say: a
    neighbour on the segment that tries to get around NAT.
    """

    kind: PacketKind
    port: int = 0
    size: int = 0
    via: str = ""
    listener: Listener | None = None
    on_lan: bool = False
    """The source is on the physical LAN by a hardware address of its own: its packets pass no router of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimProbe(ProbeBase):
    """An ARP or neighbor discovery packet in which `interface` says that it has the address `claim` (`probes.spoofing`)."""

    kind: ClaimKind
    interface: str
    claim: str
    heard_at: str = ""
    """The interface of the host where a claim would arrive that no host answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameProbe(ProbeBase):
    """A frame made by hand, which `interface` sends from the IP address `claim`, and which must not arrive (`probes.frames`)."""

    kind: FrameKind
    interface: str
    heard_in: str
    """The namespace on the same worker where it must not arrive."""
    heard_at: str = ""
    """The interface there, if the frame is for no address of the namespace."""
    claim: str = ""
    mac: str = ""
    """The hardware address of the gateway that it is sent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedPacketProbe(ProbeBase):
    """A segment or a datagram in a frame made by hand, to the hardware address `mac`, from the IP address `claim`.

    An answer must not come. With `via`, `interface` first introduces itself to that address of the host.
    """

    kind: SegmentKind
    interface: str
    claim: str
    mac: str
    port: int
    listener: Listener | None
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLookup(ProbeBase):
    """No packet: the kernel of the probing namespace is asked by which next hop (`via`) and `interface` it would send."""

    via: str
    interface: str

    @property
    def kind(self) -> Literal["route"]:
        """What the output calls it."""
        return "route"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameLookup(ProbeBase):
    """A query for `name` to the name server at `address`; `addresses` are the expected ones, of one family."""

    name: str
    addresses: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["name"]:
        """What the output calls it."""
        return "name"


Probe = PacketProbe | ClaimProbe | FrameProbe | FramedPacketProbe | RouteLookup | NameLookup


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one probe.

    `outcome` is "answered", "refused" (a reset or an ICMP error), "silent", "wrong" (another server answered), "unsent"
    or "skipped". With "unsent", the sender's own kernel refused. With "skipped", it could not be sent, and `detail`
    says why.
    """

    outcome: str
    detail: str = ""
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """A probe, its finding, and for a failed one the suspected fault."""

    probe: Probe
    finding: Finding
    fault: str = ""

    @property
    def skipped(self) -> bool:
        """Whether it proves nothing."""
        return self.finding.outcome == "skipped"

    @property
    def passed(self) -> bool:
        """Whether the network is as the file says. A probe that was skipped has not failed."""
        return self.skipped or (self.finding.outcome == "answered") == self.probe.expected


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to "open these listeners": ports with a foreign server, and failed ones with the reason."""

    taken: tuple[Listener, ...] = ()
    failed: tuple[tuple[Listener, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """All probes of a topology, and notes on omitted ones: if there are too many, a sample is sent."""

    probes: tuple[Probe, ...]
    notes: tuple[str, ...] = ()
