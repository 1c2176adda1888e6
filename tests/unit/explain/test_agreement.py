"""`explain` walks with records, `verify` derives promises from the file: the two know nothing of each other, and must agree.

The system tests send verify's probes as packets. So each path here is that of a packet whose outcome is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.explain.packet import CLIENT_PORT, WalkedPacket
from reconciler.explain.walk import Walker
from reconciler.explain.world import World
from reconciler.probes.model import DEFAULT_GATEWAY, FOREIGN_NETNS, PUBLISHED, PacketProbe
from reconciler.verify.expectations import compile_probes
from tests.harness.explained import Known, known_file

ROOT = Path(__file__).resolve().parents[3]
FILES = [
    ROOT / "topology.yaml",
    *sorted((ROOT / "examples").glob("*.yaml")),
    *sorted((ROOT / "tests/unit/plan/golden").glob("*/desired.yaml")),
]


def probes(known: Known) -> Iterator[PacketProbe]:
    """The probes that start at a node of the file."""
    desired = known.desired
    for probe in compile_probes(desired.topology, desired.resolved, known.facts).probes:
        if isinstance(probe, PacketProbe) and probe.netns != FOREIGN_NETNS and probe.address != DEFAULT_GATEWAY:
            yield probe


def end_of(world: World, probe: PacketProbe) -> tuple[str, str]:
    """How the packet of a probe and its answer end."""
    walker = Walker(world)
    node = world.nodes[probe.host, probe.netns]
    port = CLIENT_PORT if probe.port else 0
    packet = WalkedPacket(source="", target=probe.address, protocol=probe.kind, source_port=port, port=probe.port)
    if probe.via:
        way = node.route(probe.via)
        assert way
        source = node.source(way, probe.via)
        return walker.knock(world.owners[probe.via][0][0], replace(packet, source=source)).end, ""
    trail = walker.walk(node, packet)
    if walker.arrived is None:
        is_known = trail.end == "leaves" and probe.target in world.topology.containers
        return ("lost" if is_known else trail.end), ""
    there, got = walker.arrived
    if probe.section == PUBLISHED and there.name != probe.target:
        return "not published", ""
    return trail.end, walker.walk(there, got.answer).end


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem if path.stem != "desired" else path.parent.name)
def test_each_probe_of_verify_ends_as_verify_expects(path: Path) -> None:
    """What must pass arrives, and its answer returns; what must not, does not arrive."""
    known = known_file(path)
    world, wrong = known.world(), []
    for probe in probes(known):
        there, back = end_of(world, probe)
        passes = there in ("arrives", "leaves") and back in ("", "arrives", "leaves")
        if passes != probe.expected and there != "unknown":
            wrong.append(
                f"{probe.source} -> {probe.target} {probe.kind} {probe.address} {probe.port}: {there} {back}, {probe.why}"
            )
    assert wrong == []


def test_the_files_are_worth_it() -> None:
    """More than a thousand packets are walked, over every mode, and most of them are certain."""
    count, certain = 0, 0
    for path in FILES:
        known = known_file(path)
        world = known.world()
        for probe in probes(known):
            count, certain = count + 1, certain + (end_of(world, probe)[0] != "unknown")
    assert count > 1500
    assert certain > count * 0.95
