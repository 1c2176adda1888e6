"""What a topology answers to containers of other programs that wait for their network before they run. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.compile.conflicts import Conflict
from reconciler.state.engines import HOLDING
from reconciler.state.host import HostFacts, HostState
from reconciler.state.ref import container_of
from reconciler.state.starts import StartAnswer, WaitingStart
from reconciler.topology.types import Topology

Answers = Mapping[str, tuple[StartAnswer, ...]]
"""By host."""


def answer_starts(
    topology: Topology, facts: Mapping[str, HostFacts], conflicts: Collection[Conflict], left: Mapping[str, Collection[str]]
) -> Answers:
    """The answers to the starts on hosts that are as they should be, but for the containers that are `left` alone.

    A container that is left gets no answer yet. The `topology` has the members that the hosts have.
    """
    found: dict[str, list[StartAnswer]] = {}
    for host, known in facts.items():
        for start in known.starting:
            if answer := _answer(topology, host, known, start, conflicts, left.get(host, ())):
                found.setdefault(host, []).append(answer)
    starts = [(host, known, start) for host, known in facts.items() for start in known.starting]
    claimed = {start.identity for host, known, start in starts if _is_of(topology, host, known, start)}
    return {
        host: kept
        for host, answers in found.items()
        # Hosts of a lab are one machine, and see the same starts.
        if (kept := tuple(one for one in answers if one.word != "other" or one.start.identity not in claimed))
    }


def _answer(
    topology: Topology,
    host: str,
    facts: HostFacts,
    start: WaitingStart,
    conflicts: Collection[Conflict],
    left: Collection[str],
) -> StartAnswer | None:
    if name := _find_name(topology, host, start):
        return None if name in left else StartAnswer(start, "wired")
    if not (member := _find_member(facts, start)):
        return StartAnswer(start, "other")
    reason = next((one.reason for one in conflicts if (one.host, one.awaited) == (host, member)), "")
    return StartAnswer(start, "refused", reason) if reason else None


def _is_of(topology: Topology, host: str, facts: HostFacts, start: WaitingStart) -> bool:
    return bool(_find_name(topology, host, start) or _find_member(facts, start))


def _find_name(topology: Topology, host: str, start: WaitingStart) -> str:
    """The name in the topology of the container that starts; "" if it has none."""
    for container in topology.containers.values():
        is_it = (container.host, container.spec.runtime, container.engine_name) == (host, HOLDING, start.engine_name)
        if is_it and container.existing:
            return container.name
    return ""


def _find_member(facts: HostFacts, start: WaitingStart) -> str:
    """The name as a member of the container that starts, also of one that has no place; "" if it is none."""
    of_it = (one.name for one in facts.members if (one.runtime, one.engine_name) == (HOLDING, start.engine_name))
    return next(of_it, "")


def without_others(answers: Answers) -> Answers:
    """The answers, without those that a container is none of the topology."""
    return {host: kept for host, found in answers.items() if (kept := tuple(one for one in found if one.word != "other"))}


def find_left(desired: HostState, asked: HostState) -> frozenset[str]:
    """The containers whose records are not all among those that were asked for."""
    lacking = [record for ref, record in desired.records.items() if asked.records.get(ref) != record]
    return frozenset(name for record in lacking for name in (record.subject.container_name, container_of(record.netns)) if name)
