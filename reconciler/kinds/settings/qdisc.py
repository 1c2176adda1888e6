"""A rate limit: a token bucket (tc-tbf(8)) at one end of a container's cable, which delays packets that this end sends.

The host's end sends the packets that the container receives, and the container's end those that it sends. So each
direction has a limit of its own. netctl recognises it by its handle on an owned interface. A new rate replaces the old
one at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.openvswitch.bridge import OvsPort
from reconciler.kinds.settings.setting import Setting
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import QdiscDelete, QdiscSet
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFact

BURST_MIN_BYTES = 32 * 1024
"""The minimum of the burst, in bytes: room for some packets of any link, and for a fast link's traffic of one clock tick."""
TICKS_PER_S = 100
_UNITS = ((10**9, "gbit"), (10**6, "mbit"), (10**3, "kbit"))
QUEUE_S = 0.1
"""The longest delay of a packet, in seconds; a packet that would wait longer is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc(Setting):
    """`dev` sends at most `rate_bytes` a second."""

    kind = "qdisc"

    rate_bytes: int

    @classmethod
    def ref_of(cls, netns: str, dev: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, dev)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev)

    @property
    def follows(self) -> tuple[Ref, ...]:
        # ovs-vswitchd removes the queueing discipline of a port until its database says to leave it alone.
        return (OvsPort.ref_of(self.netns, self.dev),)

    @property
    def rate(self) -> str:
        """The rate as the file writes it: `10mbit`, in bits per second."""
        bits = self.rate_bytes * 8
        factor, unit = next((each for each in _UNITS if bits % each[0] == 0), (1, "bit"))
        return f"{bits // factor}{unit}"

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        return (InterfaceFact(self.netns, self.dev, rate=self.rate),)

    def describe(self) -> str:
        return f"rate limit {self.rate} on {self.dev}"

    def reason_field(self, name: str) -> tuple[str, object]:
        return ("rate", self.rate) if name == "rate_bytes" else (name, getattr(self, name))

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns, ends in addressed_interfaces(snapshot).items():
            for info in snapshot.namespaces[netns].rates:
                if info.index in ends:
                    dev, link, about, _ = ends[info.index]
                    yield cls(netns=netns, dev=dev, link=link, about=about, rate_bytes=info.rate_bytes)

    def lower_create(self) -> tuple[Step, ...]:
        burst = max(BURST_MIN_BYTES, self.rate_bytes // TICKS_PER_S)
        return (QdiscSet(self.netns, self.dev, self.rate_bytes, burst, burst + int(self.rate_bytes * QUEUE_S)),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (QdiscDelete(self.netns, self.dev),)
