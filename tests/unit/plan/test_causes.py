"""Which difference is the cause of which. The fake host deletes what the kernel deletes with a thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from reconciler.kinds import recognise_all
from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.identity import holder_ref
from reconciler.kinds.links.veth import Veth
from reconciler.plan.causes import describe_drift, find_causes
from reconciler.plan.diff import diff_states
from reconciler.plan.document import HostPlan
from reconciler.plan.execute import execute_batches
from reconciler.plan.order import Batch
from reconciler.plan.plan import compile_plan
from reconciler.render.plan import compile_lines
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps.links import LinkDelete, LinkSet
from reconciler.state.steps.namespaces import NetnsDelete
from reconciler.state.steps.step import Step
from tests.harness.fakes.host import FakeHost
from tests.harness.topologies.every_kind import ADDRESS, EXAMPLES, MAC, Example
from tests.harness.worlds.both import settings_of

HERE = EXAMPLES["a bridge, a rate limit, a command and Docker's chain"]
ACROSS = EXAMPLES["a VXLAN and a fast path"]
DOCKER = Example(
    """\
hosts: {{here: {{connect: local}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web: {{image: nginx, networks: {{front: 10.44.0.10}}}}
  old: {{existing: true, networks: {{front: 10.44.0.11}}}}
"""
)
WEB = "container:web"


def differences(example: Example, *steps: Callable[[HostState], Step]) -> dict[str, int]:
    """What is said of each cause after these steps on a host that had all of the example, and how many effects it has."""
    wanted = example.compile("shop")
    host = FakeHost("shop")
    host.add_uplink("eth0", MAC, ADDRESS)
    host.chains = {"iptables": [], "ip6tables": []}
    plan = compile_plan(recognise_all(host.snapshot(settings_of(wanted))), wanted)
    assert execute_batches(host, plan.remove + plan.make, lambda done, total: None).failure is None
    for make in steps:
        step = make(wanted)
        host.run(Batch(step.backend, step.netns, (step,), (Ref("step", step.netns, ""),)))
    live = recognise_all(host.snapshot(settings_of(wanted)))
    return said_of(live.records, wanted.records)


def said_of(live: Mapping[Ref, Record], wanted: Mapping[Ref, Record]) -> dict[str, int]:
    causes = find_causes(diff_states(HostState(live), HostState(wanted)))
    return {describe_drift(cause.change): len(cause.effects) for cause in causes}


def link_of(state: HostState, kind: str) -> str:
    return next(ref.name for ref in state.records if ref.kind == kind)


def test_a_link_that_is_down_explains_its_routes_and_neighbors() -> None:
    """One cause: the link. What the kernel deleted with it only counts."""
    assert differences(HERE, lambda _: LinkSet(WEB, "eth0", up=False)) == {"eth0 is down": 7}


def test_a_plan_names_the_cause_first() -> None:
    """Of many changes a line of a plan names six: the link is among them, before what is restored with it."""
    wanted = HERE.compile("shop")
    inside = [ref for ref in wanted.records if ref.netns == WEB and ref.kind in ("route", "neighbor")]
    live = {ref: record for ref, record in wanted.records.items() if ref not in inside}
    port = next(ref for ref, record in live.items() if isinstance(record, Veth) and record.peer_netns == WEB)
    link = live[port]
    assert isinstance(link, Veth)
    live[port] = replace(link, up=False)
    plan = HostPlan("here", changes=diff_states(HostState(live), wanted))
    (line,) = compile_lines(plan)
    assert line.text.startswith("veth v-shop-")
    assert "up is off, wanted on; add neighbor" in line.text


def test_the_end_that_is_down_is_named() -> None:
    """The host's end of a container's pair has another name than its interface."""
    (said,) = differences(HERE, lambda state: LinkSet(HOST, port_of(state, WEB), up=False))
    assert said.startswith("v-shop-")
    assert said.endswith(", the host's end of eth0, is down")


def port_of(state: HostState, netns: str) -> str:
    return next(record.name for record in state.records.values() if isinstance(record, Veth) and record.peer_netns == netns)


def test_a_tunnel_explains_its_entries() -> None:
    """A VXLAN that is gone takes its forwarding entries along, and is named as people call it."""
    gone = differences(ACROSS, lambda state: LinkDelete(HOST, link_of(state, "vxlan"), 0))
    assert list(gone) == ["VXLAN x-shop-front is gone"]
    assert gone["VXLAN x-shop-front is gone"] >= 2


def test_a_namespace_explains_all_in_it() -> None:
    """Its link, and what depends on that."""
    gone = differences(HERE, lambda _: NetnsDelete(WEB))
    assert "network namespace of web is gone" in gone
    assert len(gone) == 1


def test_two_faults_are_two_causes() -> None:
    """Neither explains the other: an address that was deleted does not follow from a table that is gone."""
    wanted = HERE.compile("shop")
    live = dict(wanted.records)
    tables = [ref for ref, record in live.items() if isinstance(record, FirewallTable) and record.family == "bridge"]
    elements = [ref for ref, record in live.items() if ref.kind == "element" and ref.name.startswith("bridge ")]
    routes = [ref for ref in live if ref.kind == "route"][:1]
    for ref in (*tables, *elements, *routes):
        del live[ref]
    said = said_of(live, wanted.records)
    assert len(said) == 2
    assert said["nftables table bridge netctl-shop is gone"] == len(elements) > 0


def test_what_is_only_loaded_again_is_no_difference() -> None:
    """A chain that was changed makes netctl load its table again, with all elements: these have not drifted."""
    wanted = HERE.compile("shop")
    ref = next(ref for ref, record in wanted.records.items() if isinstance(record, FirewallTable) and record.family == "inet")
    table = wanted.records[ref]
    assert isinstance(table, FirewallTable)
    live = {**wanted.records, ref: replace(table, intact=False, changed=("chain ours",))}
    assert said_of(live, wanted.records) == {
        "chain `ours` of the nftables table inet netctl-shop was changed by another program": 0
    }


def test_a_container_that_was_stopped_is_stopped() -> None:
    """Its state is the difference, and not the word for a field of it."""
    wanted = DOCKER.compile("shop")
    ref = EngineContainer.ref_of("web")
    stopped = wanted.records[ref]
    assert isinstance(stopped, EngineContainer)
    assert said_of({**wanted.records, ref: replace(stopped, running=False)}, wanted.records) == {"web is stopped": 0}


def test_a_restarted_container_explains_its_links() -> None:
    """A container of another program has a new namespace after a restart, and no link of netctl's in it."""
    wanted = DOCKER.compile("shop")
    inside = {
        ref for ref, record in wanted.records.items() if record.exposed_to == "container:old" or ref.netns == "container:old"
    }
    live = {ref: record for ref, record in wanted.records.items() if ref not in inside}
    said = said_of(live, wanted.records)
    assert said == {"old was restarted: its links are gone": len(inside) - 1}


def test_a_holder_that_is_stopped_explains_what_it_held() -> None:
    """The kernel deletes the namespace with the holder's process."""
    wanted = DOCKER.compile("shop")
    ref = holder_ref(WEB)
    inside = {
        each for each, record in wanted.records.items() if record.exposed_to == WEB and each.kind not in ("container", "holder")
    }
    live = {each: record for each, record in wanted.records.items() if each not in inside}
    holder = live[ref]
    assert isinstance(holder, NetnsHolder)
    live[ref] = replace(holder, running=False)
    (said,) = said_of(live, wanted.records).items()
    assert said == ("the network namespace of web is gone: its holder shop-web.net is stopped", len(inside))
