"""Foreign firewalls that may have dropped a probe, or its answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.compile.foreign_firewalls import find_drops
from reconciler.probes.model import NameLookup, Result, RouteLookup
from reconciler.state.foreign import Drop, PossibleDrop
from reconciler.state.host import HostFacts, HostState
from reconciler.topology.types import Topology

SUSPECTS_MAX = 3
"""The most firewalls that are named for one failed probe."""


def name_suspects(
    results: Sequence[Result], topology: Topology, desired: Mapping[str, HostState], facts: Mapping[str, HostFacts]
) -> tuple[Result, ...]:
    """The results; the fault of each unanswered probe names firewalls that may have dropped it, or its answer."""
    drops = {host: find_drops(topology, desired.get(host), known) for host, known in facts.items()}
    return tuple(
        replace(result, fault=_with_suspects(result, _suspects(result, drops, facts)))
        if not result.passed and result.probe.expected and not isinstance(result.probe, RouteLookup | NameLookup)
        else result
        for result in results
    )


def _suspects(result: Result, drops: Mapping[str, Sequence[Drop]], facts: Mapping[str, HostFacts]) -> Iterator[str]:
    probe = result.probe
    hosts = dict.fromkeys((probe.host, probe.listener.host if probe.listener else probe.host))
    for host in hosts:
        for one in drops.get(host, ()):
            if not isinstance(one, PossibleDrop) or one.may_meet(probe.kind, probe.port):
                yield f"{one.name} drops it ({one.detail}, on {host})"
    for host in hosts:
        for one in facts[host].foreign_of(PossibleDrop) if host in facts else ():
            if one not in drops.get(host, ()) and one.may_meet(probe.kind, probe.port):
                yield f"{one.name} may drop it ({one.detail}, on {host})"


def _with_suspects(result: Result, suspects: Iterable[str]) -> str:
    named = list(dict.fromkeys(suspects))[:SUSPECTS_MAX]
    return "; ".join([*named, result.fault] if result.fault else named)
