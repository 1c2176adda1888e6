"""Links of every kind on the kernel: what their steps make is recognised as what was wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.kernel.snapshot import Interest, read_snapshot
from reconciler.kinds.links import LINKS
from reconciler.kinds.links.base import Link
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.port import port_options
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.plan.plan import compile_plan
from reconciler.state.host import HostState
from reconciler.state.naming import Alias, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld

pytestmark = pytest.mark.kernel

WEB = "container:web"
OWNER = Ref("netns", WEB, "namespace")
MASTER = "b-front"


def sample(kind: type[Link], topology: str) -> Link:
    """A link of the kind, whose fields are not what a new one would have by default."""
    group = group_of(topology)
    web, front = Alias(topology, kind.kind, "web", "front"), Alias(topology, kind.kind, "front")
    match kind.kind:
        case Bridge.kind:
            altname = Bridge.altname_of(front, MASTER)
            mac = "02:00:00:00:00:01"
            return Bridge(
                netns=HOST, name=MASTER, mac=mac, mtu=1400, group=group, alias=str(front), altname=altname, link_local=True
            )
        case Veth.kind:
            return Veth(
                netns=HOST,
                name="v-web",
                peer_netns=WEB,
                peer_name="eth0",
                mac="02:00:00:00:00:02",
                mtu=1400,
                peer_mtu=1300,
                group=group,
                alias=str(web),
                altname=Veth.altname_of(web, "v-web"),
                master=MASTER,
                port_options=port_options(("hairpin", "on"), ("learning", "off")),
                arp=False,
                peer_owner=OWNER,
            )
        case Macvlan.kind:
            return Macvlan(
                netns=WEB,
                name="eth1",
                lower="v-other",
                mode="vepa",
                mac="02:00:00:00:00:03",
                mtu=1350,
                group=group,
                alias=str(web),
                owner=OWNER,
            )
        case Vxlan.kind:
            return Vxlan(
                netns=HOST,
                name="x-front",
                vni=77,
                local="192.0.2.1",
                port=4790,
                mac="02:00:00:00:00:04",
                mtu=1400,
                group=group,
                alias=str(front),
                altname=Vxlan.altname_of(front, "x-front"),
                master=MASTER,
                arp=False,
            )
    raise AssertionError(f"a sample of {kind.kind} is missing")


def read(world: KernelWorld) -> HostState:
    """The links of the topology's own on the host."""
    snapshot = read_snapshot(world.namespaces, Interest())
    return HostState.of(record for kind in LINKS for record in kind.recognise(snapshot))


def turn(world: KernelWorld, live: HostState, desired: HostState) -> None:
    """Carry out what turns one state into the other."""
    plan = compile_plan(live, desired)
    for batch in (*plan.remove, *plan.make):
        world.host.run(batch)


@pytest.fixture
def ready(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> KernelWorld:
    """A host with a container's namespace and a foreign link."""
    make_namespace("web")
    world.own.run(*["ip", "link", "add", "v-other", "type", "veth", "peer", "name", "v-else"])
    return world


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
def test_what_is_made_is_read_back(ready: KernelWorld, kind: type[Link]) -> None:
    """The kernel shows a link that was made as the record that made it, every field of it; deleted, it is gone."""
    link = sample(kind, ready.context.topology)
    others: list[Record] = [sample(Bridge, ready.context.topology)] if kind is not Bridge else []
    before, wanted = HostState.of(others), HostState.of([*others, link])
    turn(ready, HostState({}), wanted)
    assert read(ready).records[link.ref] == link
    assert read(ready) == wanted
    turn(ready, wanted, before)
    assert read(ready) == before


@pytest.mark.parametrize("kind", LINKS, ids=lambda kind: kind.kind)
def test_what_drifts_is_set_back_in_place(ready: KernelWorld, kind: type[Link]) -> None:
    """All that can be changed in place is changed by one update, and the link keeps its number."""
    link = sample(kind, ready.context.topology)
    others: list[Record] = [sample(Bridge, ready.context.topology)] if kind is not Bridge else []
    drifted = replace(link, mac="02:00:00:00:00:99", mtu=1290, alias="", link_local=not link.link_local, up=False)
    turn(ready, HostState({}), HostState.of([*others, link]))
    index = _index_of(ready, link)
    for one, other in ((link, drifted), (drifted, link)):
        for step in other.lower_update(one):
            ready.run(step)
        assert read(ready).records[link.ref] == other
    assert _index_of(ready, link) == index


def test_a_port_that_the_kernel_has_not_enabled_yet_is_no_drift(ready: KernelWorld) -> None:
    """A port is disabled for a moment after its carrier is there: no reading takes that for a change of its options."""
    link = sample(Veth, ready.context.topology)
    assert isinstance(link, Veth)
    wanted = HostState.of([sample(Bridge, ready.context.topology), link])
    turn(ready, HostState({}), wanted)
    flaps = "for i in $(seq 300); do ip link set eth0 down; ip link set eth0 up; done"
    with ready.own.start("nsenter", f"--net={ready.namespaces.path(WEB)}", "sh", "-c", flaps) as peer:
        while peer.poll() is None:
            found = read(ready).records[link.ref]
            assert isinstance(found, Veth)
            assert found.port_options == link.port_options
    assert read(ready) == wanted


def _index_of(world: KernelWorld, link: Link) -> int:
    links = read_snapshot(world.namespaces, Interest()).namespaces[link.netns].links
    return next(index for index, info in links.items() if info.name == link.name)
