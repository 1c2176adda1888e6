"""What the firewalls have counted, by policy: pure.

The kernel counts for each element of a set, and begins again with an element that is created again. Here this is no step back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.memory import REFUSED
from reconciler.kinds.firewall.sets import CONCATENATION
from reconciler.state.host import HostState
from reconciler.state.subject import Subject
from reconciler.state.traffic import TrafficCount

Verdict = Literal["allowed", "dropped"]
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Flow:
    """What is counted together: `from front to db`, by the names of a policy, or of subnets if no policy allows it."""

    ends: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Increase:
    """The packets and bytes of a flow since the last time."""

    flow: Flow
    packets: int
    bytes: int


@dataclass(slots=True)
class Traffic:
    """What has been counted so far."""

    _last: dict[str, Mapping[tuple[str, str], TrafficCount]] = field(default_factory=dict)
    """By host, its counters by set and key. One that is missing is 0, or begins again."""

    def note(self, host: str, state: HostState, counts: Collection[TrafficCount]) -> Iterator[Increase]:
        """What a host has counted since the last time; `state` is what is desired there."""
        before, self._last[host] = self._last.get(host, {}), {(count.set, count.key): count for count in counts}
        names = _Names.of(state if counts else HostState({}))
        for count in counts:
            flow = names.flow_of(count)
            known = before.get((count.set, count.key))
            if known is None or known.packets > count.packets:
                known = TrafficCount(count.set, count.key, 0, 0)
            if flow and known.packets < count.packets:
                yield Increase(flow, count.packets - known.packets, count.bytes - known.bytes)


@dataclass(frozen=True, slots=True)
class _Names:
    """Whose the elements of a host's firewall are."""

    policies: Mapping[tuple[str, str], str]
    """By set and key."""
    subnets: Mapping[str, str]
    """By bridge."""

    @classmethod
    def of(cls, state: HostState) -> _Names:
        """Of what is desired on a host."""
        found = [record for record in state.records.values() if isinstance(record, FirewallElement)]
        policies = {(one.set, one.key): one.about.parties for one in found if one.about.sort == "policy"}
        return cls(policies, {one.key: one.about.name for one in found if one.set == "bridges"})

    def flow_of(self, count: TrafficCount) -> Flow | None:
        """None if no policy is behind it, as within a subnet."""
        if count.set == REFUSED:
            source, target = (self.subnets.get(link, OUTSIDE) for link in count.key.split(CONCATENATION))
            return Flow(Subject.policy(source, target).parties, "dropped")
        ends = self.policies.get((count.set, count.key))
        return Flow(ends, "allowed") if ends else None
