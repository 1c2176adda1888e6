"""What a deletion does outside of the parent is done also when the parent takes the thing along."""

from __future__ import annotations

from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.plan import compile_plan
from reconciler.state.host import HostState
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps import backends
from reconciler.state.steps.firewall import ConntrackFlush
from reconciler.state.steps.namespaces import SysctlRestore
from tests.unit.kinds.settings.test_sysctl import states

OUTSIDE = {
    backends.CONNTRACK,
    backends.SYSCTL,
    backends.IPTABLES,
    backends.PROCESS,
    backends.RUNTIME,
    backends.DHCP,
    backends.UPLINK,
}
"""Backends whose steps reach what is deleted with no link, table or namespace."""
TABLE = FirewallTable(netns=HOST, family="inet", topology="shop")
PORT = FirewallElement(netns=HOST, family="inet", topology="shop", set="published4", key="udp . 53", value="10.44.0.2 . 53")


def test_each_effect_outside_is_an_aftermath() -> None:
    """Of every kind that can be deleted with a parent, the steps of a deletion that reach outside are its aftermath."""
    seen = set()
    for state in states().values():
        for record in state.records.values():
            is_nameless = isinstance(record, FirewallElement) and not record.key  # without facts no uplink has a name
            if is_nameless or not any(record.is_deleted_with(parent) for parent in record.depends_on):
                continue
            outside = [step for step in record.lower_delete() if step.backend in OUTSIDE]
            assert outside == [*record.lower_aftermath()], record.ref
            seen.add(record.kind)
    assert {"element", "sysctl", "address", "route", "neighbor", "fdb"} <= seen


def test_flows_are_forgotten_after_the_table_is_gone() -> None:
    """The table goes in one step, and then the flows that it had translated: before, the next packet would bring them back."""
    plan = compile_plan(HostState.of([TABLE, PORT]), HostState({}))
    steps = [step for batch in plan.remove for step in batch.steps]
    assert [step.backend for step in steps] == [backends.NFT, backends.CONNTRACK]
    assert steps[1] == ConntrackFlush(HOST, "udp", 53)


def test_a_value_comes_back_after_its_link_is_gone() -> None:
    """What the host's file remembers of a setting is released, though the setting was deleted with the link."""
    table = Sysctl(netns=HOST, key="net.ipv6.conf.br.accept_ra", value="2", remember=True, owner=Ref("firewall", HOST, "inet"))
    plan = compile_plan(HostState.of([TABLE, table]), HostState({}))
    assert [batch.steps[0] for batch in plan.remove][-1] == SysctlRestore(HOST, "net.ipv6.conf.br.accept_ra")
