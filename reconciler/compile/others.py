"""What other firewalls on a host drop of a topology's packets, so that it is said before anything is applied.

Called by `cli` and `probes.suspects`. Pure: the kernel's side has read the rules and says what drops for certain and what may
(`kernel.drops`); only here the file's ports and tunnels are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reconciler.kinds.bridges import bridge_names
from reconciler.kinds.vxlan import Vxlan
from reconciler.state.host import MAY_DROP, TUNNEL_DROP, HostFacts, HostState, Obstacle
from reconciler.topology.types import Topology

PORT_RULE = re.compile(r"(tcp|udp|sctp) dport ([0-9,-]+) drop$")
"""A rule that drops by protocol and port alone, as `kernel.drops` writes it at the end of its detail."""
USUAL_PORT = 4789
"""Of a VXLAN (RFC 7348): the only one whose drops are looked for."""
Ports = tuple[str, int, int]
"""Protocol, first and last port."""


def find_drops(topology: Topology, state: HostState | None, facts: HostFacts) -> tuple[Obstacle, ...]:
    """What drops packets that the file promises, for certain. Nothing on a host without a bridge of the topology's."""
    if state is None or not bridge_names(state):
        return ()
    tunnels = any(isinstance(record, Vxlan) and record.port == USUAL_PORT for record in state.records.values())
    promised = tuple(_promised(topology))
    return tuple(one for one in facts.obstacles if _is_certain(one, promised, tunnels=tunnels))


def _is_certain(one: Obstacle, promised: Sequence[Ports], *, tunnels: bool) -> bool:
    if one.kind == MAY_DROP:
        return any(_meet(rule, port) for rule in _ports_of(one) for port in promised)
    return one.kind == "drop" or (one.kind == TUNNEL_DROP and tunnels)


def _ports_of(one: Obstacle) -> Iterator[Ports]:
    """The ports of a rule that drops by these alone."""
    found = PORT_RULE.search(one.detail)
    for word in found[2].split(",") if found else ():
        first, _, last = word.partition("-")
        if found and first.isdigit() and (not last or last.isdigit()):
            yield found[1], int(first), int(last or first)


def _promised(topology: Topology) -> Iterator[Ports]:
    """The ports that the file lets packets pass to: those of containers, and those of hosts, which are translated."""
    for policy in topology.policies:
        yield from ((each.protocol, each.first, each.last) for each in policy.ports)
    for container in topology.containers.values():
        for each in container.publications:
            yield each.protocol, each.port, each.port + each.count - 1
            yield each.protocol, each.to_port, each.to_port + each.count - 1


def _meet(one: Ports, other: Ports) -> bool:
    return one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2]


def speaks_of(one: Obstacle, protocol: str, port: int) -> bool:
    """Whether a rule that may drop can drop this: one by ports alone drops no others."""
    ports = tuple(_ports_of(one))
    return not ports or any(_meet(each, (protocol, port, port)) for each in ports)
