"""Probes, listeners and results: plain values, sent to the workers and back as JSON by `state.codec`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.ref import HOST

IN_SUBNETS = "subnets"
WITH_HOST = "host"
TO_OUTSIDE = "outside"
PUBLISHED = "published ports"
ALLOWED = "policies"
ROUTES = "static routes"
FORBIDDEN = "forbidden"

ROUTE = "route"
"""As a probe's kind: the kernel of the probing namespace is asked by which next hop (`via`) and `interface` it would send."""

OUTCOMES = ("answered", "refused", "silent", "wrong", "unsent", "skipped")
"""What may have happened to a probe (`Finding`)."""

DEFAULT_GATEWAY = "default gateway"
"""As a probe's address: whatever the probing host's default route leads to, found when the probe runs."""

FOREIGN_NETNS = "foreign:link"
"""As a probe's namespace: the far end of a link of the host that is not netctl's, made when a probe starts there."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A short-lived server that a probe needs: `host` is the worker that opens it, in `netns`, on every address of `family`.

    It answers with `token`, so that the client knows who has answered.
    """

    host: str
    netns: str
    protocol: str
    family: int
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the network, and the answer that the topology file promises.

    `host` is the worker that asks, `netns` where it asks from. `kind` is icmp, tcp, udp, sctp, ROUTE or one of
    `borrow.KINDS` or `frames.KINDS`; some have no `port`. `size` is the whole packet in bytes, sent with DF set; 0 is a small
    one. With `via`, the packet goes to that on-link neighbor whatever the routes say: a neighbour on the segment that tries to
    get around NAT. With `claim`, which is another's address, `interface` speaks as if it were its own.

    With `mac`, and for each of `frames.KINDS`, the frame is made by hand: `interface` sends it to that hardware address, from the
    IP address `claim`. `heard_in` is the namespace on the same worker where it must not arrive; tcp and udp listen for an answer
    instead, and with `via` introduce themselves to that address of the host first.
    """

    host: str
    netns: str
    source: str
    target: str
    section: str
    kind: str
    address: str
    expected: bool
    why: str
    port: int = 0
    size: int = 0
    via: str = ""
    subnet: str = ""
    listener: Listener | None = None
    """Who should answer, where somebody of ours is to listen."""
    interface: str = ""
    claim: str = ""
    heard_at: str = ""
    """The interface where a claim or a frame would arrive that nobody answers."""
    mac: str = ""
    heard_in: str = HOST
    on_lan: bool = False
    """The source is on the physical LAN by a hardware address of its own: what it sends out passes no router of the host."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def question(self) -> str:
        """For people: `web -> db 10.44.0.20 tcp 80`."""
        what = (
            f"{self.kind} {self.port}"
            if self.port
            else "ping"
            if self.kind == "icmp"
            else self.kind + (f" as {self.claim}" if self.claim else "")
        )
        size = f", {self.size} bytes" if self.size else ""
        return f"{self.source} -> {self.target} ({self.address}) {what}{size}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What happened to one probe.

    `outcome` is "answered", "refused" (a reset or an ICMP error), "silent", "wrong" (somebody else answered), "unsent" (the
    sender's own kernel refused) or "skipped" (it could not be asked; `detail` says why).
    """

    outcome: str
    detail: str = ""
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """A probe, what it found, and for a failed one what is thought to be at fault."""

    probe: Probe
    finding: Finding
    fault: str = ""

    @property
    def skipped(self) -> bool:
        """Whether it says nothing either way."""
        return self.finding.outcome == "skipped"

    @property
    def passed(self) -> bool:
        """Whether the network is as the file says. A probe that was skipped has not failed."""
        return self.skipped or (self.finding.outcome == "answered") == self.probe.expected


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to "open these listeners": who listens there already, and what cannot be listened on, with the reason."""

    taken: tuple[Listener, ...] = ()
    failed: tuple[tuple[Listener, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """All probes of a topology, and notes on what is not asked: where there are too many, a sample is."""

    probes: tuple[Probe, ...]
    notes: tuple[str, ...] = ()
