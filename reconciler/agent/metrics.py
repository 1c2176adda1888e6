"""What an agent counts, for Prometheus. docs/agent.md says what each metric means."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reconciler.agent.cycle import CycleResult
from reconciler.agent.state import AgentState
from reconciler.agent.traffic import Traffic
from reconciler.agent.withhold import find_roots
from reconciler.kernel.processes.metrics_server import MetricsServer
from reconciler.state.host import HostState
from reconciler.topology.types import Topology

LABELS = ("topology",)
BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)


class Metrics:
    """The metrics of one agent; served until `close`."""

    def __init__(self, server: MetricsServer) -> None:
        """All is 0."""
        self._server = server
        self._registry = registry = CollectorRegistry()
        self._repairs = Counter(
            "netctl_repairs",
            "Things repaired, by kind; what follows from another is not counted.",
            ("topology", "kind"),
            registry=registry,
        )
        self._cycles = Counter("netctl_cycles", "Cycles, by what came of them.", ("topology", "result"), registry=registry)
        self._duration = Histogram("netctl_cycle_seconds", "How long a cycle took.", LABELS, buckets=BUCKETS_S, registry=registry)

        flow = ("topology", "policy", "verdict")
        self._packets = Counter(
            "netctl_policy_packets",
            "Packets between subnets and to the outside, as they were sent: by the policy that allowed them, or dropped.",
            flow,
            registry=registry,
        )
        self._bytes = Counter("netctl_policy_bytes", "The bytes of these.", flow, registry=registry)
        self._traffic = Traffic()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"netctl_{name}", text, LABELS, registry=registry)

        self._in_step = gauge("in_step", "1 if the last reading found nothing to repair.")
        self._in_step_at = gauge("last_in_step_timestamp_seconds", "When a reading last found nothing to repair.")
        self._containers = gauge("containers", "Containers of the file on the hosts that the agent holds.")
        self._ports = gauge("published_ports", "Ports that these publish.")
        self._policies = gauge("policies", "Policies of the file.")
        self._records = gauge("records", "Links, addresses, routes, rules and settings that the agent keeps.")
        self._contested = gauge("contested", "Things that something else changes again and again.")
        self._waiting = gauge("waiting_containers", "Containers that do not run, and that the agent does not start.")
        self._paused = gauge("paused", "1 while the agent changes nothing.")

    def count(self, topology: Topology, result: str, elapsed_s: float, outcome: CycleResult | None = None) -> None:
        """Note a cycle: `result` is in_step, repaired, failed or locked."""
        name = topology.name
        self._cycles.labels(name, result).inc()
        self._duration.labels(name).observe(elapsed_s)
        if outcome is None:
            return
        for kind, number in _kinds(outcome).items():
            self._repairs.labels(name, kind).inc(number)
        if outcome.is_in_step:
            self._in_step_at.labels(name).set_to_current_time()
        for host, counts in outcome.traffic.items():
            for one in self._traffic.note(host, outcome.desired.get(host, HostState({})), counts):
                self._packets.labels(name, one.flow.ends, one.flow.verdict).inc(one.packets)
                self._bytes.labels(name, one.flow.ends, one.flow.verdict).inc(one.bytes)
        self._records.labels(name).set(sum(len(state.records) for state in outcome.desired.values()))

    def publish(self, topology: Topology, state: AgentState, contested: int, desired: Mapping[str, HostState]) -> None:
        """Serve the numbers as they are now."""
        name = topology.name
        own = [container for container in topology.containers.values() if container.host in desired]
        self._in_step.labels(name).set(state.in_step)
        self._containers.labels(name).set(len(own))
        self._ports.labels(name).set(sum(each.count for container in own for each in container.publications))
        self._policies.labels(name).set(len(topology.policies))
        for policy in topology.policies:
            self._packets.labels(name, policy.subject.parties, "allowed")  # 0 if it has allowed nothing so far
            self._bytes.labels(name, policy.subject.parties, "allowed")
        self._contested.labels(name).set(contested)
        self._waiting.labels(name).set(len(state.waiting))
        self._paused.labels(name).set(bool(state.paused))
        self._server.publish(generate_latest(self._registry))

    def close(self) -> None:
        """End the server."""
        self._server.close()


def _kinds(outcome: CycleResult) -> Tally[str]:
    return Tally(change.ref.kind for changes in outcome.repaired.values() for change in find_roots(changes))
