"""Foreign firewalls on a host that drop a topology's packets, so that netctl reports them before an apply.

Pure. `kernel.netfilter.foreign_drops` has read the rules, and says which certainly drop packets and which may. Only
here the file's ports and tunnels are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import assert_never

from reconciler.kinds.bridges import bridge_names
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.state.foreign import Drop, ForwardDrop, PacketDrop, PossibleDrop, TunnelDrop
from reconciler.state.host import HostFacts, HostState
from reconciler.topology.types import Topology

Ports = tuple[str, int, int]
"""Protocol, first and last port."""


def find_drops(topology: Topology, state: HostState | None, facts: HostFacts) -> tuple[Drop, ...]:
    """The rules that certainly drop packets that the file allows. None on a host without a bridge of the topology."""
    drops = [each for each in facts.foreign if isinstance(each, PacketDrop)]
    if not drops or state is None or not bridge_names(state):
        return ()
    # Only drops of the usual port are searched (`kernel.netfilter.foreign_drops`).
    tunnels = {record.title for record in state.records.values() if isinstance(record, Tunnel) and record.is_usual}
    promised = tuple(_promised(topology))
    return tuple(drop for drop in drops if _is_certain(drop, promised, tunnels=tunnels))


def _is_certain(drop: Drop, promised: Sequence[Ports], *, tunnels: Collection[str]) -> bool:
    match drop:
        case ForwardDrop():
            return True
        case TunnelDrop():
            return drop.tunnel in tunnels
        case PossibleDrop():
            return drop.ports is not None and any(drop.ports.meets(*ports) for ports in promised)
    assert_never(drop)


def _promised(topology: Topology) -> Iterator[Ports]:
    """The ports that the file opens: those of containers, and those of hosts, which are translated."""
    for policy in topology.policies:
        yield from ((each.protocol, each.first, each.last) for each in policy.ports)
    for container in topology.containers.values():
        for each in container.publications:
            yield each.protocol, each.port, each.port + each.count - 1
            yield each.protocol, each.to_port, each.to_port + each.count - 1
