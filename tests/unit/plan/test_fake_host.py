"""Real topologies on a host in memory: an apply converges, and one that fails at any step is rolled back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.kinds import recognise_all
from reconciler.plan.diff import diff_states
from reconciler.plan.execute import execute_batches
from reconciler.plan.plan import PhasedPlan, compile_plan
from reconciler.plan.rollback import rollback_target
from reconciler.state.host import HostState
from reconciler.topology.load import load_topology, parse_topology
from tests.harness.fakes.host import FakeHost
from tests.harness.topologies import every_kind

EXAMPLES = ("dual-stack", "routed", "isolated", "two-hosts-vxlan")
FILES = ("topology.yaml", *(f"examples/{name}.yaml" for name in EXAMPLES))
NOTHING = HostState({})


def compile_file(path: str) -> dict[str, HostState]:
    return dict(compile_topology(load_topology(path), {}).hosts)


def name_of(path: str) -> str:
    return load_topology(path).name


def keys_of(*states: HostState) -> dict[str, tuple[str, ...]]:
    keys: dict[str, tuple[str, ...]] = {}
    for state in states:
        for ref in state.records:
            if ref.kind == "sysctl":
                keys[ref.netns] = (*keys.get(ref.netns, ()), ref.name)
    return keys


def live(host: FakeHost, *wanted: HostState) -> HostState:
    return recognise_all(host.snapshot(keys_of(*wanted)))


def run(host: FakeHost, plan: PhasedPlan) -> None:
    outcome = execute_batches(host, plan.remove + plan.make, lambda done, total: None)
    assert outcome.failure is None, outcome.failure


@pytest.mark.parametrize("path", FILES)
def test_an_apply_converges_and_a_destroy_leaves_nothing(path: str) -> None:
    """On every host of a topology: apply, then nothing differs; destroy, then nothing is left."""
    for name, desired in compile_file(path).items():
        host = FakeHost(name_of(path))
        run(host, compile_plan(live(host, desired), desired))
        assert diff_states(live(host, desired), desired) == (), name
        run(host, compile_plan(live(host), NOTHING))
        assert live(host).records == {}, name
        assert host.remembered == {}


@pytest.mark.parametrize("make", [True, False], ids=["apply", "destroy"])
@pytest.mark.parametrize("host_name", ["lab", "alpha", "beta"])
def test_a_failure_at_every_step_is_rolled_back(host_name: str, *, make: bool) -> None:
    """Each step of an apply, and of a destroy, fails in turn. Read again and planned back, the host is as it was."""
    desired = compile_file("topology.yaml")[host_name]
    first = FakeHost(name_of("topology.yaml"))
    if not make:
        run(first, compile_plan(live(first, desired), desired))
    before = live(first, desired)
    plan = compile_plan(before, desired if make else NOTHING)
    assert plan.step_count > 5
    for step in range(plan.step_count):
        host = copy.deepcopy(first)
        host.fail_at = step
        outcome = execute_batches(host, plan.remove + plan.make, lambda done, total: None)
        assert outcome.failure is not None
        assert outcome.failure.message == "injected"
        host.fail_at = -1
        halfway = live(host, desired)
        run(host, compile_plan(halfway, rollback_target(before)))
        assert diff_states(live(host, desired), before) == (), f"failed at step {step}: {outcome.failure.ref}"


def equipped(topology: str) -> FakeHost:
    """A host with an uplink on a LAN, and with Docker's chain."""
    host = FakeHost(topology)
    host.add_uplink("eth0", every_kind.MAC, every_kind.ADDRESS)
    host.chains = {"iptables": [], "ip6tables": []}
    return host


@pytest.mark.parametrize("make", [True, False], ids=["apply", "destroy"])
@pytest.mark.parametrize("name", sorted(every_kind.EXAMPLES))
def test_a_failure_with_every_kind_is_rolled_back(name: str, *, make: bool) -> None:
    """The same for things of every kind. From where a step failed, a rollback, an apply and a destroy all get there."""
    desired = every_kind.EXAMPLES[name].compile("shop")
    first = equipped("shop")
    if not make:
        run(first, compile_plan(live(first, desired), desired))
    before = live(first, desired)
    plan = compile_plan(before, desired if make else NOTHING)
    for step in range(plan.step_count):
        host = copy.deepcopy(first)
        host.fail_at = step
        outcome = execute_batches(host, plan.remove + plan.make, lambda done, total: None)
        assert outcome.failure is not None
        assert outcome.failure.message == "injected"
        host.fail_at = -1
        for goal, wanted in ((rollback_target(before), before), (desired, desired), (NOTHING, NOTHING)):
            again, asked = copy.deepcopy(host), NOTHING if wanted is NOTHING else desired
            run(again, compile_plan(live(again, asked), goal))
            assert diff_states(live(again, asked), wanted) == (), f"failed at step {step}: {outcome.failure.ref}"


EDITS = {
    "another subnet": ("cidr: 10.45.0.0/24", "cidr: 10.47.0.0/24"),
    "a replica less": ("replicas: 3", "replicas: 2"),
}


@pytest.mark.parametrize("edit", sorted(EDITS))
def test_a_change_and_its_way_back_converge(edit: str) -> None:
    """An edited file is applied over the first, and the first again over that; each time nothing differs afterwards."""
    source = Path("topology.yaml").read_text()
    old, new = EDITS[edit]
    changed = source.replace(old, new).replace("10.45.0.20", "10.47.0.20" if "10.47" in new else "10.45.0.20")
    assert changed != source
    states = [compile_topology(parse_topology(text.encode()), {}).hosts for text in (source, changed)]
    for name in states[0]:
        host = FakeHost(name_of("topology.yaml"))
        for desired in (states[0][name], states[1][name], states[0][name]):
            run(host, compile_plan(live(host, desired), desired))
            assert diff_states(live(host, desired), desired) == ()


def test_one_more_port_is_one_element() -> None:
    """A port that is added to the file is one step of nft: nothing else is touched (invariant 3)."""
    source = Path("topology.yaml").read_text()
    changed = source.replace('- "8080:80"', '- "8099:80"\n      - "8080:80"', 1)
    assert changed != source
    hosts = [compile_topology(parse_topology(text.encode()), {}).hosts for text in (source, changed)]
    plans = [compile_plan(hosts[0][name], hosts[1][name]) for name in hosts[0]]
    kinds = {change.ref.kind for plan in plans for change in plan.changes}
    assert kinds == {"element"}
    assert all(step.backend == "nft" for plan in plans for batch in plan.make for step in batch.steps)
    assert not any(plan.remove for plan in plans)
