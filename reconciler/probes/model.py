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
"""The kind of a probe that asks the kernel of its namespace for the next hop (`via`) and `interface` to its target."""

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
    protocol: str
    family: int
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One test of the network, and the result that the topology file promises.

    The worker of `host` sends it from `netns`. `kind` is icmp, tcp, udp, sctp, ROUTE or one of `spoofing.KINDS` or
    `frames.KINDS`; some have no `port`. `size` is the whole packet in bytes, sent with DF set; 0 is a small one. With
    `via`, the packet goes to that on-link neighbor whatever the routes say: a neighbour on the segment that tries to
    bypass NAT. With `claim`, which is another's address, `interface` sends as if it were its own.

    With `mac`, and for each of `frames.KINDS`, the frame is forged: `interface` sends it to that hardware address, from
    the IP address `claim`. `heard_in` is the namespace on the same worker where it must not arrive. Probes of tcp and
    udp wait for an answer instead, and with `via` first make the sender known to that address of the host.
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
    """The server that should answer, if netctl opens one."""
    interface: str = ""
    claim: str = ""
    heard_at: str = ""
    """The interface where an unanswered claim or frame would arrive."""
    mac: str = ""
    heard_in: str = HOST
    on_lan: bool = False
    """The source is on the physical LAN by a hardware address of its own: its packets pass no router of the host."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4

    @property
    def question(self) -> str:
        """The probe for users: `web -> db 10.44.0.20 tcp 80`."""
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
