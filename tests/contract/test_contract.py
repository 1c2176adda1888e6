"""One contract for the kernel and for the host in memory: the same steps are refused, and leave the same things.

The kernel's side works in namespaces of the test's own. What is compared is what the kinds look at: links and what they
hang on, addresses, our routes and neighbors, tables and their elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.snapshot import Interest, read_snapshot
from reconciler.kinds.firewall.element_text import render_element
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook, FastPathLink
from reconciler.kinds.firewall.program import WAYS, render_table
from reconciler.plan.execute import BatchRunner
from reconciler.plan.order import Batch
from reconciler.state.naming import ROUTE_PROTOCOL, group_of
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.steps import backends
from reconciler.state.steps.addresses import AddressAdd, AddressDelete, NeighborAdd, NeighborDelete, RouteAdd
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete
from reconciler.state.steps.step import Step, StepError
from tests.harness.fakes.host import FakeHost
from tests.harness.netns import Namespace

pytestmark = pytest.mark.kernel

INSIDE = "container:a"
MAC = "02:00:00:00:00:0a"
SCOPE_LINK = 253
NUD_PERMANENT = 0x80


@pytest.fixture
def hosts(topology_name: str, make_namespace: Callable[..., Namespace]) -> Iterator[tuple[KernelHost, Namespaces, FakeHost]]:
    own = make_namespace("lab.x")
    namespaces = Namespaces(KernelContext(topology_name, own.name, own_netns=str(own.path)))
    host = KernelHost(namespaces)
    fake = FakeHost(topology_name)
    fake.spaces[HOST].links["lo"].up = True
    yield host, namespaces, fake
    host.close()


def bridge(group: int) -> tuple[Step, ...]:
    return (LinkAdd(HOST, "br", "bridge", "02:00:00:00:00:01", 1500, group), LinkSet(HOST, "br", up=True))


def veth(group: int, *, master: str = "br", mac: str = MAC) -> Step:
    return LinkAdd(HOST, "v", "veth", "", 1500, group, master=master, peer=Peer(INSIDE, "eth0", mac, 1500))


def wired(group: int) -> tuple[Step, ...]:
    up = (LinkSet(HOST, "v", up=True, link_local=False), LinkSet(INSIDE, "lo", up=True), LinkSet(INSIDE, "eth0", up=True))
    return (NetnsAdd(INSIDE, ipv6=True), *bridge(group), veth(group), *up)


def addressed(group: int) -> tuple[Step, ...]:
    return (
        *wired(group),
        AddressAdd(INSIDE, "eth0", "10.9.0.2/24"),
        RouteAdd(INSIDE, 4, "10.9.0.0/24", "eth0"),
        RouteAdd(INSIDE, 4, "default", "eth0", via="10.9.0.1"),
        NeighborAdd(INSIDE, "eth0", "10.9.0.1", "02:00:00:00:00:01"),
    )


def table(name: str) -> tuple[Step, ...]:
    return (
        NftCommand(
            HOST, f"add table inet netctl-{name}\ndelete table inet netctl-{name}\n" + render_table("inet", f"netctl-{name}")
        ),
    )


def element(verb: str, name: str, value: str = "10.9.0.2 . 80") -> Step:
    return NftCommand(HOST, render_element(verb, ("inet", f"netctl-{name}"), "published4", "tcp . 8080", value) + "\n")


def fast_path(group: int, name: str) -> tuple[Step, ...]:
    """A table of netdev with a hook and a way at the end of a veth."""
    records = (
        FirewallTable(netns=HOST, family="netdev", topology=name, subnet="front"),
        FastPathHook(netns=HOST, topology=name, subnet="front", dev="v", chain="leaving"),
        FastPathLink(netns=HOST, family="netdev", topology=name, set="to_bridge", key="ip", value="br", subnet="front"),
    )
    return (*wired(group), *(step for record in records for step in record.lower_create()))


def hook(name: str, dev: str) -> FastPathHook:
    return FastPathHook(netns=HOST, topology=name, subnet="front", dev=dev, chain="leaving")


Case = Callable[[int, str], tuple[tuple[Step, ...], tuple[Step, ...]]]
CASES: dict[str, tuple[Case, bool]] = {
    "a namespace": (lambda g, n: ((), (NetnsAdd(INSIDE, ipv6=True),)), False),
    "a namespace that is there": (
        lambda g, n: ((NetnsAdd(INSIDE, ipv6=False),), (NetnsAdd(INSIDE, ipv6=True),)),
        True,
    ),
    "a namespace goes with all in it": (lambda g, n: (wired(g), (LinkDelete(HOST, "v", g), NetnsDelete(INSIDE))), False),
    "a bridge": (lambda g, n: ((), bridge(g)), False),
    "a bridge that is there": (lambda g, n: (bridge(g), bridge(g)), True),
    "a veth": (lambda g, n: ((), wired(g)), False),
    "a veth without its bridge": (lambda g, n: ((NetnsAdd(INSIDE, ipv6=True),), (veth(g),)), True),
    "a veth into no namespace": (lambda g, n: (bridge(g), (veth(g),)), True),
    "a veth that is there": (lambda g, n: (wired(g), (veth(g),)), True),
    "a veth goes with both ends": (lambda g, n: (addressed(g), (LinkDelete(HOST, "v", g),)), False),
    "a link that is gone may be deleted": (lambda g, n: ((), (LinkDelete(HOST, "v", g),)), False),
    "a bridge goes and its ports stay": (lambda g, n: (wired(g), (LinkDelete(HOST, "br", g),)), False),
    "a change of a link that is not there": (lambda g, n: ((), (LinkSet(HOST, "v", mtu=1400),)), True),
    "an alias, an altname and an MTU": (
        lambda g, n: (
            wired(g),
            (LinkSet(HOST, "v", alias=f"netctl:{n}/veth/a/front", mtu=1400), AltnameAdd(HOST, "v", f"{n}-a")),
        ),
        False,
    ),
    "an altname that is taken": (
        lambda g, n: ((*wired(g), AltnameAdd(HOST, "v", "x-y")), (AltnameAdd(HOST, "br", "x-y"),)),
        True,
    ),
    "a port taken from its bridge": (lambda g, n: (wired(g), (LinkSet(HOST, "v", master="-"),)), False),
    "hairpin on a port": (lambda g, n: (wired(g), (BridgePortSet(HOST, "v", (("hairpin", "on"),)),)), False),
    "a port option of what is not a port": (
        lambda g, n: ((*wired(g), LinkSet(HOST, "v", master="-")), (BridgePortSet(HOST, "v", (("hairpin", "on"),)),)),
        True,
    ),
    "addresses and routes": (lambda g, n: ((), addressed(g)), False),
    "an address without a link": (lambda g, n: ((), (AddressAdd(HOST, "v", "10.9.0.2/24"),)), True),
    "an address that is there": (lambda g, n: (addressed(g), (AddressAdd(INSIDE, "eth0", "10.9.0.2/24"),)), True),
    "the last address takes routes and neighbors": (
        lambda g, n: (addressed(g), (AddressDelete(INSIDE, "eth0", "10.9.0.2/24"),)),
        False,
    ),
    "IPv6 where it is off": (
        lambda g, n: (
            (NetnsAdd(INSIDE, ipv6=False), *bridge(g), veth(g)),
            (AddressAdd(INSIDE, "eth0", "fd00:9::2/64"),),
        ),
        True,
    ),
    "IPv6 addresses and routes": (
        lambda g, n: (
            wired(g),
            (
                AddressAdd(INSIDE, "eth0", "fd00:9::2/64"),
                RouteAdd(INSIDE, 6, "fd00:9::/64", "eth0"),
                RouteAdd(INSIDE, 6, "default", "eth0", via="fd00:9::1"),
            ),
        ),
        False,
    ),
    "a route that is there": (lambda g, n: (addressed(g), (RouteAdd(INSIDE, 4, "10.9.0.0/24", "eth0"),)), True),
    "a route by a next hop that nothing reaches": (
        lambda g, n: (wired(g), (RouteAdd(INSIDE, 4, "default", "eth0", via="10.9.0.1"),)),
        True,
    ),
    "a route over a link that is down": (
        lambda g, n: ((*wired(g), LinkSet(INSIDE, "eth0", up=False)), (RouteAdd(INSIDE, 4, "10.9.0.0/24", "eth0"),)),
        True,
    ),
    "a route from an address that is not there": (
        lambda g, n: (addressed(g), (RouteAdd(INSIDE, 4, "10.8.0.0/24", "eth0", src="10.9.0.9"),)),
        True,
    ),
    "routes go when the link goes down": (lambda g, n: (addressed(g), (LinkSet(INSIDE, "eth0", up=False),)), False),
    "IPv6 addresses go when the link goes down": (
        lambda g, n: ((*wired(g), AddressAdd(INSIDE, "eth0", "fd00:9::2/64")), (LinkSet(INSIDE, "eth0", up=False),)),
        False,
    ),
    "a bridge told its MTU keeps it": (
        lambda g, n: (wired(g), (LinkSet(HOST, "br", mtu=1450), LinkSet(HOST, "v", mtu=1400))),
        False,
    ),
    "a neighbor is replaced": (lambda g, n: (addressed(g), (NeighborAdd(INSIDE, "eth0", "10.9.0.1", MAC),)), False),
    "a neighbor goes": (lambda g, n: (addressed(g), (NeighborDelete(INSIDE, "eth0", "10.9.0.1"),)), False),
    "a table and an element": (lambda g, n: ((), (*table(n), element("add", n))), False),
    "an element without a table": (lambda g, n: ((), (element("add", n),)), True),
    "an element that is there with another value": (
        lambda g, n: ((*table(n), element("add", n)), (element("add", n, "10.9.0.3 . 80"),)),
        True,
    ),
    "an element that is not there": (lambda g, n: (table(n), (element("delete", n),)), True),
    "an element that gets another value": (
        lambda g, n: ((*table(n), element("add", n)), (element("delete", n), element("add", n, "10.9.0.3 . 80"))),
        False,
    ),
    "a transaction that fails leaves nothing": (
        lambda g, n: (table(n), (element("add", n), element("add", n, "10.9.0.3 . 80"))),
        True,
    ),
    "a fast path": (lambda g, n: ((), fast_path(g, n)), False),
    "a way to a link that is not there": (
        lambda g, n: (
            fast_path(g, n),
            FastPathLink(
                netns=HOST, family="netdev", topology=n, set="to_tunnel", key="ip", value="w", subnet="front"
            ).lower_create(),
        ),
        True,
    ),
    "a hook that goes": (lambda g, n: (fast_path(g, n), hook(n, "v").lower_delete()), False),
    "a hook that is not there": (lambda g, n: (fast_path(g, n), hook(n, "br").lower_delete()), True),
    "a table takes its hooks along": (
        lambda g, n: (fast_path(g, n), FirewallTable(netns=HOST, family="netdev", topology=n, subnet="front").lower_delete()),
        False,
    ),
    "a table that is replaced is empty": (lambda g, n: ((*table(n), element("add", n)), table(n)), False),
}


def run(host: BatchRunner, steps: tuple[Step, ...]) -> bool:
    """Whether the steps were refused; each run of one backend and namespace is a batch."""
    for (backend, netns), group in groupby(
        steps, key=lambda step: (step.backend, step.netns if step.backend == backends.NETLINK else "")
    ):
        batch = tuple(group)
        try:
            host.run(Batch(backend, netns, batch, tuple(Ref("step", step.netns, "") for step in batch)))
        except StepError:
            return True
    return False


def seen(snapshot: Snapshot) -> dict[str, Any]:
    """What the kinds look at, without interface numbers."""
    view: dict[str, Any] = {netns: seen_in(info) for netns, info in snapshot.namespaces.items()}
    names = {str(link.index): link.name for link in snapshot.namespaces[HOST].links.values()}
    view["tables"] = sorted(
        (info.family, info.name, info.intact, tuple(sorted(seen_element(each, names) for each in info.elements)), info.hooks)
        for info in snapshot.tables
    )
    return view


def seen_element(element: tuple[str, str, str], names: dict[str, str]) -> tuple[str, str, str]:
    name, key, value = element
    return name, key, names[value] if name in WAYS else value


def seen_in(info: NamespaceInfo) -> dict[str, Any]:
    name = {link.index: link.name for link in info.links.values()}
    ours = [each for each in info.neighbors if each.state & NUD_PERMANENT and each.protocol == ROUTE_PROTOCOL]
    routes = [each for each in info.routes if each.protocol == ROUTE_PROTOCOL]
    addresses = [each for each in info.addresses if name[each.index] != "lo" and each.scope != SCOPE_LINK]
    return {
        "links": sorted(seen_of(link, name.get(link.master, "")) for link in info.links.values() if link.name != "lo"),
        "addresses": sorted((name[each.index], each.cidr) for each in addresses),
        "routes": sorted((each.family, each.dst, name[each.index], each.via, each.src, each.metric) for each in routes),
        "neighbors": sorted((name[each.index], each.address, each.mac) for each in ours),
    }


def seen_of(link: LinkInfo, master: str) -> tuple[Any, ...]:
    hairpin = dict(link.port_options).get("hairpin", "")
    return link.name, link.kind, link.mtu, link.group, link.up, master, bool(link.peer), link.alias, link.altnames, hairpin


@pytest.mark.parametrize("case", sorted(CASES))
def test_both_obey_the_same_rules(case: str, hosts: tuple[KernelHost, Namespaces, FakeHost], topology_name: str) -> None:
    """The steps of the case are refused, or not, by both, and both have the same things afterwards."""
    kernel, namespaces, fake = hosts
    make, refused = CASES[case]
    setup, steps = make(group_of(topology_name), topology_name)
    assert not run(kernel, setup)
    assert not run(fake, setup)
    assert run(kernel, steps) == refused
    assert run(fake, steps) == refused
    live = read_snapshot(namespaces, Interest())
    held = fake.snapshot()
    own = {netns for netns in live.namespaces if netns in held.namespaces}
    assert live.mounted == held.mounted
    assert {key: value for key, value in seen(live).items() if key in own or key == "tables"} == seen(held)
