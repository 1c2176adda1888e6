"""The pure parts of Open vSwitch: which datapath, what a dumped rule says, and where a transaction is cut."""

from __future__ import annotations

import pytest

from reconciler.kernel.openvswitch.backend import split_runs
from reconciler.kernel.openvswitch.openflow import parse_flow
from reconciler.kinds.grammar import check_record
from reconciler.kinds.openvswitch.flow import (
    BRIDGE_RULES,
    LAN_RULES,
    SEGMENT_RULES,
    UPLINK,
    OvsFlow,
    Rule,
    address_rule,
    apart_rules,
    container_rules,
    open_rules,
    prefix_rule,
    target_rules,
    tunnel_rule,
)
from reconciler.state.snapshot import OvsBridgeInfo, OvsFlowInfo, OvsPortInfo, Snapshot
from reconciler.state.steps.openvswitch import OvsBridgeAdd, OvsPortAdd, OvsPortDelete
from reconciler.state.steps.step import Step

LINES = {
    ' cookie=0x7, priority=10,in_port="v-web-front",vlan_tci=0x0000/0x1fff actions=resubmit(,1)': (
        'table=0,priority=10,in_port="v-web-front",vlan_tci=0x0000/0x1fff',
        "resubmit(,1)",
    ),
    " cookie=0x7, table=1, priority=10 actions=resubmit(,3)": ("table=1,priority=10", "resubmit(,3)"),
    " cookie=0x7, table=1, idle_timeout=9, priority=10,arp actions=drop": ("table=1,priority=10,arp", "drop, idle_timeout=9"),
    "NXST_FLOW reply (xid=0x4):": None,
}


@pytest.mark.parametrize("line", LINES)
def test_a_dumped_rule(line: str) -> None:
    """Table, priority and match are distinguished from actions; a timeout that a user added makes another rule of it."""
    wanted = LINES[line]
    assert parse_flow("b", line) == (OvsFlowInfo("b", *wanted) if wanted else None)


def test_a_rule_reads_back_as_it_was_written() -> None:
    """Whatever its port: a name, a number of one that is gone, the bridge's own, or every port."""
    rules = list(container_rules("02:00:00:00:00:01", ("10.0.0.1", "fd00::1"), "fe80::1", ("dhcp-server",)))
    rules += [*BRIDGE_RULES, *apart_rules(["02:00:00:00:00:01"]), tunnel_rule("x-front")]
    rules += [*target_rules(["10.0.0.1", "fd00::1"]), *map(prefix_rule, ["10.0.0.0/24", "fd00::/64"])]
    rules += [*SEGMENT_RULES, *LAN_RULES, *open_rules(["02:00:00:00:00:02"], ["v-web", "7"])]
    rules += [address_rule("02:00:00:00:00:01", port) for port in ("v-web", "7")]
    for port in ("v-web", "7", "LOCAL", ""):
        for table, priority, match, actions in rules:
            flow = flow_of(port, (table, priority, match, actions))
            snapshot = Snapshot("shop", {}, ovs_flows=(OvsFlowInfo("b", flow.words, actions),))
            assert list(OvsFlow.recognise(snapshot)) == [flow]


def flow_of(port: str, rule: Rule) -> OvsFlow:
    """The record of a rule at a port."""
    table, priority, match, actions = rule
    return OvsFlow(netns="", topology="shop", bridge="b", port=port, table=table, priority=priority, match=match, actions=actions)


def test_a_rule_may_name_a_thousand_ports() -> None:
    """Four thousand, with names as long as a link's may be, are in the form of a record."""
    *_, rule = open_rules([], [f"v-here--{number:07}" for number in range(4000)])
    check_record(flow_of("", rule))


def test_a_rule_names_the_uplink_by_its_number() -> None:
    """In the match and in every output of the actions, because ovs-ofctl prints its name once it has joined."""
    port = OvsPortInfo("eth0", 65000, (("netctl:uplink", "eth0"),))
    bridge = OvsBridgeInfo("b", "netdev", "02:00:00:00:00:01", 1500, "standalone", ports=(port,))
    flow = OvsFlowInfo("b", 'table=5,priority=1,in_port="eth0"', 'output:eth0,output:"v-web",output:eth0')
    read = next(OvsFlow.recognise(Snapshot("shop", {}, ovs_bridges=(bridge,), ovs_flows=(flow,))))
    assert read.port == UPLINK
    assert read.actions == 'output:65000,output:"v-web",output:65000'


def test_a_rule_goes_with_every_port_that_it_names() -> None:
    """Where frames come from, and where they go to; but the uplink and the bridge's own port are not netctl's to make."""
    rule = address_rule("02:00:00:00:00:01", "v-web")
    assert [ref.name for ref in flow_of("", rule).depends_on] == ["b", "v-web"]
    assert [ref.name for ref in flow_of("v-app", tunnel_rule("x")).depends_on] == ["b", "v-app", "x"]
    assert [ref.name for ref in flow_of(UPLINK, tunnel_rule(UPLINK)).depends_on] == ["b"]
    *_, group = open_rules([], ["v-web", "v-app"])
    assert [ref.name for ref in flow_of("", group).depends_on] == ["b", "v-web", "v-app"]


def test_what_comes_again_takes_another_transaction() -> None:
    """A port that is removed and re-created under its name is noticed only if the two are apart."""
    gone, again = OvsPortDelete("", "b", "v-web"), OvsPortAdd("", "b", "v-web", ())
    other: Step = OvsBridgeAdd("", "c", "netdev", "", 1500, ())
    assert list(split_runs([gone, other, again])) == [[gone, other], [again]]
    assert list(split_runs([other, again])) == [[other, again]]
    assert list(split_runs([])) == []
