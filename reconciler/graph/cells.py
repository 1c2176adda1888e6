"""The matrix of `netctl verify` without a packet: what it expects between two names, with the reason of each probe. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.compile.model import Resolved
from reconciler.graph.model import Cell
from reconciler.probes.model import PUBLISHED, PacketProbe, Probe
from reconciler.state.host import HostFacts
from reconciler.topology.types import Topology
from reconciler.verify.expectations import compile_probes
from reconciler.verify.publications import LOCALHOST

REASONS_MAX = 12
"""The most reasons of one cell; the rest is counted."""


def compile_cells(
    topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts]
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """A cell for each pair of names that verification probes, in the order of the probes; and its notes."""
    plan = compile_probes(topology, resolved, facts)
    pairs: dict[tuple[str, str], list[Probe]] = {}
    for probe in plan.probes:
        pairs.setdefault((probe.source, probe.target), []).append(probe)
    names = {*topology.containers, *(f"host {host}" for host in topology.hosts), "outside"}
    cells = (
        Cell(source, target, _symbol(probes), _reasons(probes), _question(target, probes) if {source, target} <= names else "")
        for (source, target), probes in pairs.items()
    )
    return tuple(cells), plan.notes


def _question(target: str, probes: Iterable[Probe]) -> str:
    """The most telling packet of a pair: one to a port that is open, else a ping; "" if only attacks are probed.

    A published port is asked for at the address of its host.
    """
    packets = [probe for probe in probes if isinstance(probe, PacketProbe) and probe.address != LOCALHOST]
    name = target.removeprefix("host ")
    for probe in packets:
        if probe.expected and probe.port:
            end = f"[{probe.address}]" if ":" in probe.address else probe.address
            return f"{end if probe.section == PUBLISHED else name}:{probe.port}/{probe.kind}"
    return name if packets else ""


def _symbol(probes: Iterable[Probe]) -> str:
    """Forged packets, which must never pass, count only where no other packet may."""
    expected = {probe.expected for probe in probes if probe.kind in ("icmp", "tcp", "udp", "sctp", "route")}
    return {frozenset({True}): "ok", frozenset({True, False}): "ok -"}.get(frozenset(expected), "-")


def _reasons(probes: Iterable[Probe]) -> tuple[str, ...]:
    found = list(dict.fromkeys(_reason(probe) for probe in probes))
    more = [f"and {len(found) - REASONS_MAX} more"] if len(found) > REASONS_MAX else []
    return (*found[:REASONS_MAX], *more)


def _reason(probe: Probe) -> str:
    verdict = "may pass" if probe.expected else "must not pass"
    port = f" port {probe.port}" if probe.port else ""
    size = f" of {probe.size} bytes" if probe.size else ""
    return f"{probe.kind}{size} to {probe.address}{port} {verdict}: {probe.why}"
