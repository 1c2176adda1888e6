"""What is guessed of a failed probe from the others."""

from __future__ import annotations

from dataclasses import replace

from reconciler.probes.diagnose import NetnsFacts, diagnose
from reconciler.probes.model import PUBLISHED, Finding, Listener, PacketProbe, Result

FACTS = NetnsFacts(exists=True, links=("eth0",), addressed=(4,), default_routes=(4,))
LISTENER = Listener("alpha", "container:web", "tcp", 4, 80, "netctl shop web")
PROBE = PacketProbe(
    host="alpha",
    netns="",
    source="host alpha",
    target="web",
    section=PUBLISHED,
    address="192.0.2.11",
    expected=True,
    why="alpha publishes tcp 8080",
    kind="tcp",
    port=8080,
    listener=LISTENER,
)


def test_a_host_is_not_compared_with_itself() -> None:
    """If the same source reaches the server at another address, the sentence names the addresses, and not one host twice."""
    failed = Result(PROBE, Finding("silent"))
    local = Result(replace(PROBE, address="127.0.0.1"), Finding("answered"))
    fault = diagnose(failed, [failed, local], FACTS)
    assert "host alpha at 127.0.0.1 gets an answer, host alpha at 192.0.2.11 does not" in fault
    outside = Result(replace(PROBE, source="outside", netns="lab:outside"), Finding("answered"))
    assert diagnose(failed, [failed, local, outside], FACTS).startswith("outside gets an answer, host alpha does not")
