"""What stands where a record of netctl's belongs is found by its key, and only where it is netctl's to remove."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.compile import compile_topology
from reconciler.kernel.facts.foreign import find_interfaces
from reconciler.kernel.facts.host_facts import find_leases
from reconciler.kinds import recognise_all, with_strays
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.stray import StrayLink, StrayRoute
from reconciler.plan.diff import diff_states, split_exposed
from reconciler.plan.plan import compile_plan
from reconciler.plan.rollback import rollback_target
from reconciler.state.host import HostState
from reconciler.state.naming import ROUTE_PROTOCOL, group_of
from reconciler.state.ref import HOST
from reconciler.state.snapshot import AddressInfo, ContainerInfo, LinkInfo, NamespaceInfo, RouteInfo, Snapshot
from tests.harness.fakes.fake_snapshot import fake_snapshot
from tests.harness.topologies.full import FULL, load

STATE = compile_topology(load(FULL), {}).hosts["alpha"]
WEB = "container:web"
VETH = next(record for record in STATE.records.values() if isinstance(record, Veth) and record.peer_netns == WEB)


def extend(netns: str, **more: tuple[Any, ...]) -> Snapshot:
    """The live host with more in one namespace, before what there is."""
    snapshot = fake_snapshot("shop", STATE)
    namespace = snapshot.namespaces[netns]
    added = {name: (*values, *getattr(namespace, name)) for name, values in more.items()}
    return replace(snapshot, namespaces={**snapshot.namespaces, netns: replace(namespace, **added)})  # type: ignore[arg-type]


def with_link(netns: str, link: LinkInfo, *, without: str = "") -> Snapshot:
    """The live host with one link more in a namespace, and without the one called `without`."""
    snapshot = fake_snapshot("shop", STATE)
    namespace = snapshot.namespaces[netns]
    links = {index: each for index, each in namespace.links.items() if each.name != without} | {link.index: link}
    return replace(snapshot, namespaces={**snapshot.namespaces, netns: replace(namespace, links=links)})


def read(snapshot: Snapshot, desired: HostState = STATE) -> HostState:
    return with_strays(recognise_all(snapshot), snapshot, desired)


def index_of(netns: str, name: str) -> int:
    links = fake_snapshot("shop", STATE).namespaces[netns].links
    return next(index for index, link in links.items() if link.name == name)


@pytest.mark.parametrize(
    "route",
    [
        RouteInfo(4, "default", 1, "10.44.0.3", "", 0, 3, 0),
        RouteInfo(4, "default", 0, "", "", 0, 3, 0, "blackhole"),
        RouteInfo(4, "default", 99, "", "", 0, 4, 0, "nexthop object", 7),
    ],
)
def test_a_route_instead_of_netctls_is_removed(route: RouteInfo) -> None:
    """Of whatever form: the plan names it and removes it; a rollback does not restore it."""
    (change,) = diff_states(read(extend(WEB, routes=(route,))), STATE)
    assert isinstance(change.before, StrayRoute)
    assert change.after is None
    assert "route default" in change.before.describe()
    assert change.before.is_remnant


@pytest.mark.parametrize(
    "route",
    [RouteInfo(4, "default", 1, "10.44.0.3", "", 5, 3, 0), RouteInfo(4, "10.99.0.0/16", 0, "", "", 0, 3, 0, "blackhole")],
)
def test_other_routes_are_the_containers_own(route: RouteInfo) -> None:
    """One with another metric, or to elsewhere, stays."""
    assert diff_states(read(extend(WEB, routes=(route,))), STATE) == ()


def test_copies_of_a_route_are_distinguished() -> None:
    """Routes that bear our protocol, to one destination over one interface, are no defect: what is too many goes."""
    index = index_of(WEB, "eth0")
    forged = tuple(RouteInfo(4, "default", index, f"10.44.0.{n}", "", 7, ROUTE_PROTOCOL, 0) for n in (3, 4))
    changes = diff_states(read(extend(WEB, routes=forged)), STATE)
    assert [change.after for change in changes] == [None, None]


def test_the_kernels_route_on_a_bridge_comes_back() -> None:
    """It is replaced by netctl's; a rollback restores it, because the host reaches its containers by it."""
    bridge = index_of(HOST, "b-shop-back")
    snapshot = fake_snapshot("shop", STATE)
    host = snapshot.namespaces[HOST]
    routes = tuple(
        replace(route, protocol=2) if (route.index, route.dst) == (bridge, "10.45.0.0/24") else route for route in host.routes
    )
    snapshot = replace(snapshot, namespaces={**snapshot.namespaces, HOST: replace(host, routes=routes)})
    plan = compile_plan(read(snapshot), STATE)
    assert {(change.before is None, change.after is None) for change in plan.changes} == {(True, False), (False, True)}
    target = rollback_target(read(snapshot))
    assert diff_states(read(snapshot, target), target) == ()


def test_a_route_over_anothers_link_on_the_host_stays() -> None:
    """On the host, nothing is replaced beside our own links."""
    assert diff_states(read(extend(HOST, routes=(RouteInfo(4, "10.45.0.0/24", 2, "", "", 0, 3, 0),))), STATE) == ()


def test_a_link_with_our_name_is_moved_aside() -> None:
    """It is renamed, never deleted, before ours is made."""
    other = LinkInfo(77, "eth0", "bridge", "02:00:00:00:00:77", 1500, 0, up=True, local_peer=True)
    changes = diff_states(read(with_link(WEB, other, without="eth0")), STATE)
    (stray,) = [change.before for change in changes if isinstance(change.before, StrayLink)]
    assert [type(step).__name__ for step in stray.lower_delete()] == ["LinkSet", "LinkRename"]


def test_a_second_name_is_taken_off() -> None:
    """A link that has our name as its altname only loses that."""
    other = LinkInfo(77, "mine", "bridge", "02:00:00:00:00:77", 1500, 0, up=True, altnames=("eth0",), local_peer=True)
    changes = diff_states(read(with_link(WEB, other, without="eth0")), STATE)
    (stray,) = [change.before for change in changes if isinstance(change.before, StrayLink)]
    assert [type(step).__name__ for step in stray.lower_delete()] == ["AltnameDelete"]


def test_a_forged_pair_is_not_the_remote_end() -> None:
    """A link of the container's with our number, peer and hardware address, whose other end is in the container as well."""
    snapshot = fake_snapshot("shop", STATE)
    namespace = snapshot.namespaces[WEB]
    index = index_of(WEB, VETH.peer_name)
    links = {**namespace.links, index: replace(namespace.links[index], local_peer=True)}
    forged = replace(snapshot, namespaces={**snapshot.namespaces, WEB: replace(namespace, links=links)})
    changes = {change.ref: change for change in diff_states(read(forged), STATE)}
    assert changes[VETH.ref].recreate


def test_a_forged_macvlan_is_not_ours() -> None:
    """One in a container on a link in the container, whatever group it has."""
    forged = LinkInfo(77, "x", "macvlan", "02:00:00:00:00:77", 1500, group_of("shop"), up=True, local_peer=True)
    assert list(Macvlan.recognise(with_link(WEB, forged))) == []
    assert diff_states(read(with_link(WEB, forged)), STATE) == ()


def test_an_address_goes_before_the_first_of_its_prefix() -> None:
    """The kernel may delete it with the first or promote it: it is removed by a step of its own, first, and re-created."""
    index = index_of(WEB, "eth0")
    snapshot = fake_snapshot("shop", STATE)
    namespace = snapshot.namespaces[WEB]
    ours = tuple(replace(one, flags=one.flags | 1) if one.cidr == "10.44.0.10/24" else one for one in namespace.addresses)
    addresses = (AddressInfo(index, "10.44.0.99/24", 0x80, 0), *ours)
    snapshot = replace(snapshot, namespaces={**snapshot.namespaces, WEB: replace(namespace, addresses=addresses)})
    plan = compile_plan(read(snapshot), STATE)
    removed = [step.cidr for batch in plan.remove + plan.make for step in batch.steps if type(step).__name__ == "AddressDelete"]  # type: ignore[attr-defined]
    assert removed == ["10.44.0.10/24", "10.44.0.99/24"]


def test_what_a_container_can_undo_is_distinguished_from_the_rest() -> None:
    """Its namespace and its cable, and what stands on that; not what the host has for it."""
    others, exposed = split_exposed(diff_states(HostState({}), STATE))
    assert VETH.ref in {change.ref for change in exposed}
    assert {change.ref.netns for change in exposed} >= {WEB}
    assert {change.ref.kind for change in others} >= {"bridge", "firewall", "element"}
    assert not any(change.ref.netns == WEB for change in others)


def test_a_lease_is_what_the_filter_allows() -> None:
    """What a container has on its link does not become its address, unless the filter has lost its port."""
    index = index_of(WEB, "eth0")
    snapshot = extend(WEB, addresses=(AddressInfo(index, "10.44.0.3/24", 0x80, 0),))
    held = {lease.address for lease in find_leases(snapshot) if (lease.container, lease.subnet) == ("web", "front")}
    assert "10.44.0.10" in held
    assert "10.44.0.3" not in held
    held = {lease.address for lease in find_leases(replace(snapshot, tables=())) if lease.container == "web"}
    assert "10.44.0.3" in held


@pytest.mark.parametrize(
    ("link", "does_conflict"),
    [
        (LinkInfo(7, "eth0", "veth", "", 1500, 0, up=True, peer=9, local_peer=False), True),
        (LinkInfo(7, "eth0", "", "", 1500, 0, up=True, local_peer=True), True),
        (LinkInfo(7, "eth0", "bridge", "", 1500, 0, up=True, local_peer=True), False),
        (LinkInfo(7, "eth0", "tun", "", 1500, 0, up=True, local_peer=True), False),
    ],
)
def test_a_link_that_an_existing_container_has_made_does_not_conflict(link: LinkInfo, does_conflict: bool) -> None:
    """One that it was given is: it serves the container."""
    info = ContainerInfo("docker", "old", "old", None, running=True, pid=7, existing=True)
    snapshot = Snapshot("shop", {HOST: NamespaceInfo(), "container:old": NamespaceInfo({7: link})}, containers=(info,))
    assert bool(list(find_interfaces(snapshot))) == does_conflict
