"""What is made is recognised: for every kind, and for whole topologies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.compile import compile_topology
from reconciler.kinds import KINDS, recognise_all
from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.flow import OvsFlow
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.plan.diff import diff_states
from reconciler.plan.rollback import find_repaired, rollback_target
from reconciler.plan.subjects import names_lent_by, subjects_of
from reconciler.state.host import HostState
from reconciler.state.naming import group_of
from reconciler.state.ref import HOST
from reconciler.state.snapshot import AddressInfo, LinkInfo, NamespaceInfo, OvsBridgeInfo, OvsFlowInfo, Snapshot, UplinkInfo
from tests.harness.fakes.fake_snapshot import fake_snapshot
from tests.harness.topologies.full import FULL, load
from tests.unit.compile.test_overlays import desired

DESIRED = compile_topology(load(FULL), {}).hosts
HOSTS = sorted(DESIRED)
SPREAD = desired().hosts
"""A subnet over several hosts, joined by VXLANs."""


def alter(snapshot: Snapshot, netns: str, name: str, **changes: object) -> Snapshot:
    """The same snapshot with one link changed."""
    namespace = snapshot.namespaces[netns]
    links = {index: replace(link, **changes) if link.name == name else link for index, link in namespace.links.items()}  # type: ignore[arg-type]
    return replace(snapshot, namespaces={**snapshot.namespaces, netns: replace(namespace, links=links)})


@pytest.mark.parametrize("state", [*DESIRED.values(), *SPREAD.values()], ids=[*DESIRED, *(f"spread-{host}" for host in SPREAD)])
def test_round_trip(state: HostState) -> None:
    """What a host shows of a desired state is recognised as that state: nothing missing, nothing foreign, nothing different."""
    assert diff_states(recognise_all(fake_snapshot("shop", state)), state) == ()


@pytest.mark.parametrize("host", HOSTS)
def test_what_was_read_is_on_the_line_of_what_is_wanted(host: str) -> None:
    """A live record has the same subject as the desired one, though no name is written on most of them."""
    desired, live = DESIRED[host].records.values(), recognise_all(fake_snapshot("shop", DESIRED[host])).records.values()
    names = names_lent_by(record for state in DESIRED.values() for record in state.records.values())
    read, wanted = subjects_of(live, names), subjects_of(desired, names)
    assert {ref: subject for ref, subject in wanted.items() if read[ref] != subject} == {}
    plain = ("address", "bridge", "container", "netns", "process", "route", "sysctl", "veth")
    subjects = {record.ref: record.subject for record in desired if record.kind in plain}
    assert {record.ref: record.subject for record in live if record.kind in plain} == subjects


def test_flows_are_their_ports_owners() -> None:
    """A rule that was read is the container's whose port it names, and the subnet's where it names none or several."""
    links = {
        number: LinkInfo(number, name, kind, "02:00:00:00:00:01", 1500, group_of("shop"), up=True, alias=f"netctl:shop/{alias}")
        for number, name, kind, alias in (
            (2, "b-front", "openvswitch", "bridge/front"),
            (3, "v-web", "veth", "veth/web/front"),
            (4, "v-db", "veth", "veth/db/front"),
        )
    }
    bridge = OvsBridgeInfo("b-front", "system", "", 0, "secure", (("netctl:topology", "shop"),))
    rules = (
        ('table=0,priority=1,in_port="v-web"', "drop", "container web"),
        ("table=5,priority=20,dl_dst=02:00:00:00:00:02", 'output:"v-db"', "container db"),
        ("table=8,priority=10", 'output:"v-web",output:"v-db"', "subnet front"),
        ("table=5,priority=20", "NORMAL", "subnet front"),
    )
    flows = tuple(OvsFlowInfo("b-front", match, actions) for match, actions, _ in rules)
    snapshot = Snapshot("shop", {HOST: NamespaceInfo(links=links)}, ovs_bridges=(bridge,), ovs_flows=flows)
    assert [str(flow.subject) for flow in OvsFlow.recognise(snapshot)] == [subject for *_, subject in rules]


def test_every_kind_is_tried() -> None:
    """The topology that is taken round has a record of every kind but the rule for Docker, which has tests of its own."""
    tried = {ref.kind for state in DESIRED.values() for ref in state.records}
    assert {"netns", "container", "sysctl", "bridge", "veth", "address", "route", "neighbor", "process"} <= tried
    assert tried <= {kind.kind for kind in KINDS}


def test_dependencies_are_recognised() -> None:
    """What a live record depends on is there under the name that it gives: nothing is deleted in the wrong order."""
    for host in HOSTS:
        live = recognise_all(fake_snapshot("shop", DESIRED[host])).records
        for record in live.values():
            assert set(record.depends_on) <= set(live), record


def test_the_order_is_recognised() -> None:
    """A live record follows what the desired one follows: a rollback restores in the order of an apply."""
    for host in HOSTS:
        live = recognise_all(fake_snapshot("shop", DESIRED[host])).records
        for ref, record in DESIRED[host].records.items():
            assert set(record.follows) <= set(live[ref].follows), record


def test_a_setting_of_a_moved_uplink_follows_the_move() -> None:
    """The uplink's own and the bridge's, but not rp_filter: the bridge has that before it replaces the uplink."""
    keys = [f"net.ipv6.conf.{each}.accept_ra" for each in ("eth0", "b-shop-lan", "eth1")] + ["net.ipv4.conf.b-shop-lan.rp_filter"]
    host = NamespaceInfo(sysctls=dict.fromkeys(keys, "2"))
    snapshot = Snapshot("shop", {HOST: host}, uplinks=(UplinkInfo("eth0", "b-shop-lan", settled=True),))
    moved = {record.key for record in Sysctl.recognise(snapshot) if Uplink.ref_of(HOST, "eth0") in record.follows}
    assert moved == set(keys[:2])


def test_another_topologys_links_are_foreign() -> None:
    """Links that carry another topology's alias are not ours, even with our group; nor are links of another group."""
    state = DESIRED["alpha"]
    snapshot = fake_snapshot("shop", state)
    with_alias = alter(snapshot, HOST, "b-shop-back", alias="netctl:other/bridge/back")
    with_group = alter(snapshot, HOST, "b-shop-back", group=0)
    for foreign in (with_alias, with_group):
        assert not [bridge for bridge in Bridge.recognise(foreign) if bridge.name == "b-shop-back"]
    assert not list(Bridge.recognise(replace(snapshot, topology="other")))


@pytest.mark.parametrize("alias", ["", "somebody was here"])
def test_a_link_without_alias_is_adopted(alias: str) -> None:
    """A crash between the two messages, or an administrator, leaves a link without our alias: it is repaired, not re-created."""
    state = DESIRED["alpha"]
    veth = next(record for record in state.records.values() if isinstance(record, Veth))
    live = recognise_all(alter(fake_snapshot("shop", state), HOST, veth.name, alias=alias))
    (change,) = diff_states(live, state)
    assert change.ref == veth.ref
    assert not change.recreate


def test_addresses_on_our_links_are_ours() -> None:
    """An address that a user added to an owned bridge is found; one on the uplink, or a link-local one, is not netctl's."""
    snapshot = fake_snapshot("shop", DESIRED["alpha"])
    host = snapshot.namespaces[HOST]
    bridge = next(index for index, link in host.links.items() if link.name == "b-shop-back")
    added = (AddressInfo(bridge, "10.45.0.99/24", 0x80, 0), AddressInfo(2, "192.0.2.11/24", 0x80, 0))
    more = replace(host, addresses=(*host.addresses, *added))
    found = {address.cidr for address in Address.recognise(replace(snapshot, namespaces={**snapshot.namespaces, HOST: more}))}
    assert "10.45.0.99/24" in found
    assert not found & {"192.0.2.11/24", "fe80::1/64"}


def test_a_lab_host_is_not_the_labs() -> None:
    """The lab's worker sees a lab host's namespace with all that the host has made there, and takes none of it for its own."""
    lab, alpha = fake_snapshot("shop", DESIRED["lab"]), fake_snapshot("shop", DESIRED["alpha"])
    shifted = {index + 100: replace(link, index=index + 100) for index, link in alpha.namespaces[HOST].links.items()}
    there = lab.namespaces["lab:alpha"]
    both = NamespaceInfo({**shifted, **there.links}, there.addresses, there.routes, there.neighbors)
    live = recognise_all(replace(lab, namespaces={**lab.namespaces, "lab:alpha": both}))
    assert diff_states(live, DESIRED["lab"]) == ()


def test_nothing_is_recognised_on_an_empty_host() -> None:
    """A host with links of its own has nothing of the topology."""
    links = {2: LinkInfo(2, "eth0", "", "02:00:00:00:00:02", 1500, 0, up=True)}
    assert recognise_all(Snapshot("shop", {HOST: NamespaceInfo(links)})) == HostState({})


def test_another_topologys_tables_are_foreign() -> None:
    """The tables of another topology on the same host are none of this one's, whatever its name begins with."""
    snapshot = fake_snapshot("shop", DESIRED["alpha"])
    theirs = tuple(replace(table, name=table.name.replace("netctl-shop", "netctl-shop2")) for table in snapshot.tables)
    assert theirs
    assert recognise_all(replace(snapshot, tables=theirs)) == recognise_all(replace(snapshot, tables=()))


def test_every_entry_at_a_port_is_sticky() -> None:
    """An entry that is not would move to another port with the first frame that claims its address there."""
    entries = [each for state in SPREAD.values() for each in state.records.values() if isinstance(each, Fdb)]
    assert entries
    assert all(each.sticky for each in entries)


def test_a_rollback_makes_whole_what_was_damaged() -> None:
    """A table that another program had changed is restored as netctl creates it; as long as it is live, it stays as it is."""
    table = next(each for each in DESIRED["alpha"].records.values() if isinstance(each, FirewallTable))
    damaged = HostState.of([replace(table, intact=False)])
    assert rollback_target(damaged) == HostState.of([table])
    assert rollback_target(damaged, damaged) == damaged
    assert [change.after for change in find_repaired(damaged, rollback_target(damaged))] == [replace(table, intact=False)]
