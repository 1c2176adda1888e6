"""An offload that is off on a link that leads to a user-space Open vSwitch (`datapath: netdev`).

A container leaves the checksums of its packets to its network card. A veth pair passes them on open, because the kernel at the
other end knows that no packet changes in between. A switch in user space reads frames as they are, by AF_PACKET. It sends
them on with the open checksum, which no receiver accepts: pings pass, TCP does not. So the container's end does not offer to
do it (`tx`, ethtool(8)); the kernel then also cuts large packets before it sends them. In the same way a tunnel merges packets on
arrival (`gro`) into larger ones than the next link can take.

It has no mark: on an owned link, an offload that is off is owned. A kernel's datapath needs none of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.interfaces import own_interfaces
from reconciler.kinds.settings.setting import Setting
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import OffloadSet
from reconciler.state.steps.step import Step

TX, GRO = "tx", "gro"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload(Setting):
    """`feature` is off on the interface `dev`, which `link` creates."""

    kind = "offload"

    feature: str

    @classmethod
    def ref_of(cls, netns: str, dev: str, feature: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{dev} {feature}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev, self.feature)

    def describe(self) -> str:
        return f"{self.feature} offload of {self.dev} off"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        own = {(netns, each.name): each for netns, found in own_interfaces(snapshot).items() for each in found.values()}
        for info in snapshot.offloads:
            interface = own.get((info.netns, info.dev))
            if interface and not info.on:
                yield cls(netns=info.netns, dev=info.dev, link=interface.link, about=interface.about, feature=info.feature)

    def lower_create(self) -> tuple[Step, ...]:
        return (OffloadSet(self.netns, self.dev, self.feature, on=False),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (OffloadSet(self.netns, self.dev, self.feature, on=True),)
