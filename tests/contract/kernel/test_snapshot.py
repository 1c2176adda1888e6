"""A snapshot holds what is there, of this host and this topology, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.errors import HostError
from reconciler.kernel import snapshot as module
from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink import dump as netlink_dump
from reconciler.kernel.snapshot import Interest, choose_own, read_snapshot
from reconciler.state.naming import Alias, group_of
from reconciler.state.snapshot import LinkInfo
from reconciler.state.steps.addresses import AddressAdd, NeighborAdd, RouteAdd
from reconciler.state.steps.links import LinkAdd, LinkSet, Peer
from reconciler.state.steps.namespaces import NetnsAdd, SysctlWrite
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld

MAC, MAC2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
TTL = "net.ipv4.ip_default_ttl"


def wire(world: KernelWorld) -> None:
    """One container at one bridge, as netctl would wire it."""
    group = group_of(world.context.topology)
    alias = str(Alias(world.context.topology, "veth", "web", "front"))
    world.run(NetnsAdd("container:web", ipv6=False))
    world.run(
        LinkAdd("", "br0", "bridge", MAC, 1500, group),
        LinkAdd("", "v0", "veth", "", 1500, group, master="br0", peer=Peer("container:web", "eth0", MAC2, 1500)),
        LinkSet("", "v0", alias=alias, link_local=False, up=True),
        LinkSet("", "br0", up=True),
        AddressAdd("", "br0", "10.9.0.1/24"),
        RouteAdd("", 4, "10.9.0.0/24", "br0"),
    )
    inside = "container:web"
    world.run(
        LinkSet(inside, "eth0", up=True),
        AddressAdd(inside, "eth0", "10.9.0.10/24"),
        RouteAdd(inside, 4, "10.9.0.0/24", "eth0"),
        RouteAdd(inside, 4, "default", "eth0", via="10.9.0.1"),
        NeighborAdd(inside, "eth0", "10.9.0.1", MAC),
    )


@pytest.mark.kernel
def test_what_was_wired_is_read(world: KernelWorld) -> None:
    """Host and container are read with links, addresses, routes and neighbors, and the keys that were asked for."""
    wire(world)
    world.run(SysctlWrite("", "net.ipv4.ip_forward", "1", remember=True))
    found = read_snapshot(world.namespaces, Interest(sysctls={"container:web": (TTL,), "container:nobody": (TTL,)}))
    assert found.mounted >= {"container:web"}
    web = found.namespaces["container:web"]
    eth0 = next(link for link in web.links.values() if link.name == "eth0")
    v0 = next(link for link in found.namespaces[""].links.values() if link.name == "v0")
    assert (eth0.peer, v0.peer) == (v0.index, eth0.index)
    assert {one.cidr for one in web.addresses} == {"127.0.0.1/8", "::1/128", "10.9.0.10/24"}
    assert {(one.dst, one.via) for one in web.routes} == {("10.9.0.0/24", ""), ("default", "10.9.0.1")}
    assert [(one.address, one.mac) for one in web.neighbors] == [("10.9.0.1", MAC)]
    assert web.sysctls == {TTL: "64"}
    assert found.remembered == {"net.ipv4.ip_forward"}
    assert found.namespaces[""].sysctls == {"net.ipv4.ip_forward": "1"}
    assert "container:nobody" not in found.namespaces


@pytest.mark.kernel
def test_settled_is_usable(world: KernelWorld) -> None:
    """When `settle` returns, the first packet gets through."""
    wire(world)
    world.host.settle()
    done = world.own.run("ping", "-c1", "-W1", "10.9.0.10", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.kernel
def test_settle_names_what_does_not_pass(world: KernelWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that listens and learns for its forward delay is waited for, and named where it takes too long."""
    wire(world)
    world.host.settle()
    monkeypatch.setattr("reconciler.kernel.executor.SETTLE_TIMEOUT_S", 0.1)
    world.run(LinkSet("", "br0", kind="bridge", options=(("forward_delay", "200"), ("stp_state", "1"))))
    world.run(LinkSet("", "v0", up=False))
    world.run(LinkSet("", "v0", up=True))
    with pytest.raises(HostError, match="v0"):
        world.host.settle()


@pytest.mark.kernel
def test_hosts_of_a_lab_leave_each_others_namespaces_alone(
    world: KernelWorld, make_namespace: Callable[[str], Namespace]
) -> None:
    """Two lab hosts and the lab itself share /run/netns; each sees its own, and the lab inherits from a host that is gone."""
    topology = world.context.topology
    make_namespace("lab.alpha")
    contexts = {
        key: replace(world.context, host_key=key) for key in (f"{topology}.lab.alpha", f"{topology}.lab.beta", f"{topology}.lab")
    }
    seen = {}
    for key, container in ((f"{topology}.lab.alpha", "web"), (f"{topology}.lab.beta", "db")):
        namespaces = Namespaces(contexts[key])
        namespaces.add([NetnsAdd(f"container:{container}", ipv6=False)])
        namespaces.close()
    for key, context in contexts.items():
        namespaces = Namespaces(context)
        found = read_snapshot(namespaces, Interest())
        seen[key] = (set(found.mounted), set(found.namespaces))
        namespaces.close()
    assert seen[f"{topology}.lab.alpha"] == ({"container:web"}, {"", "container:web"})
    assert seen[f"{topology}.lab.beta"] == ({"container:db"}, {"", "container:db"})
    assert seen[f"{topology}.lab"] == ({"lab:alpha", "container:db"}, {"lab:alpha", "container:db"})


def test_namespace_without_a_word_belongs_to_who_wired_it() -> None:
    """A namespace that was made by hand is the host's that has a link to it."""
    lo = LinkInfo(1, "lo", "", "", 65536, 0, up=True)
    alias = str(Alias("shop", "veth", "web", "front"))
    v0 = LinkInfo(2, "v0", "veth", MAC, 1500, group_of("shop"), up=True, alias=alias)
    mounted = frozenset({"container:web", "container:db"})
    links = {"": {2: v0}, "container:web": {1: lo}, "container:db": {1: lo}}
    assert choose_own(KernelContext("shop", "shop.lab.alpha"), mounted, links) == {"container:web"}
    assert choose_own(KernelContext("shop", "local"), mounted, links) == mounted
    inside = {netns: found for netns, found in links.items() if netns}
    assert choose_own(KernelContext("shop", "shop.lab"), mounted, inside) == frozenset()


@pytest.mark.kernel
def test_unreadable_is_not_absent(world: KernelWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a dump fails every time, reading fails; where it fails once, what is there is read."""
    wire(world)
    failures = [2]
    read = netlink_dump.read_routes

    def fail_at_first(*arguments: object, **options: object) -> object:
        failures[0] -= 1
        if failures[0] >= 0:
            raise HostError("interrupted")
        return read(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_routes", fail_at_first)
    assert read_snapshot(world.namespaces, Interest()).namespaces["container:web"].routes
    failures[0] = 10
    with pytest.raises(HostError, match="interrupted"):
        read_snapshot(world.namespaces, Interest())
