"""What the netlink steps write, ip(8) and bridge(8) read back."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable

import pytest

from reconciler.kernel.netlink.dump import read_links, read_routes
from reconciler.kernel.netlink.neighbors import read_fdb, read_neighbors
from reconciler.state.naming import ROUTE_PROTOCOL, doomed_group_of, group_of
from reconciler.state.steps.addresses import (
    AddressAdd,
    AddressDelete,
    FdbAdd,
    FdbDelete,
    NeighborAdd,
    NeighborDelete,
    RouteAdd,
    RouteDelete,
)
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.steps.step import StepError
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld, picked

pytestmark = pytest.mark.kernel

MAC, MAC2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
OPTIONS = (("forward_delay", "0"), ("mcast_snooping", "0"), ("stp_state", "0"))


def add_bridge(world: KernelWorld, name: str = "br0") -> None:
    world.run(LinkAdd("", name, "bridge", MAC, 1400, group_of(world.context.topology), options=OPTIONS))


def add_veth(world: KernelWorld, name: str = "v0", container: str = "web", mtu: int = 1400) -> None:
    group = group_of(world.context.topology)
    peer = Peer(f"container:{container}", "eth0", MAC2, mtu)
    world.run(LinkAdd("", name, "veth", "", mtu, group, peer=peer))


def test_bridge_is_made_as_asked(world: KernelWorld) -> None:
    """Name, MAC, MTU, group and options of a bridge stand as the step says."""
    add_bridge(world)
    shown = picked(world.show("ip", "-d", "link"), ifname="br0")
    assert (shown["address"], shown["mtu"], shown["group"]) == (MAC, 1400, str(group_of(world.context.topology)))
    data = shown["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["mcast_snooping"], data["stp_state"]) == (0, 0, 0)
    assert "UP" not in shown["flags"]


def test_link_is_changed_in_one_batch(world: KernelWorld) -> None:
    """Alias, altname, addrgenmode, MAC, MTU, options and state are set on a bridge that is there, and reset."""
    add_bridge(world)
    world.run(
        LinkSet("", "br0", alias="netctl:x/bridge/front", link_local=False, mac=MAC2, mtu=1500),
        AltnameAdd("", "br0", "a-name-that-is-longer-than-fifteen"),
        LinkSet("", "br0", kind="bridge", options=(("mcast_snooping", "1"),)),
        LinkSet("", "br0", up=True),
    )
    shown = picked(world.show("ip", "-d", "link"), ifname="br0")
    assert (shown["ifalias"], shown["altnames"]) == ("netctl:x/bridge/front", ["a-name-that-is-longer-than-fifteen"])
    assert (shown["inet6_addr_gen_mode"], shown["address"], shown["mtu"]) == ("none", MAC2, 1500)
    assert shown["linkinfo"]["info_data"]["mcast_snooping"] == 1
    assert "UP" in shown["flags"]
    world.run(LinkSet("", "br0", alias="", link_local=True, up=False))
    shown = picked(world.show("ip", "-d", "link"), ifname="br0")
    assert "ifalias" not in shown
    assert shown["inet6_addr_gen_mode"] == "eui64"
    assert "UP" not in shown["flags"]


def test_veth_is_born_in_its_places(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """A pair made in one batch with its bridge is a port of it, and its remote end stands in the container under its name."""
    web = make_namespace("web")
    group = group_of(world.context.topology)
    world.run(
        LinkAdd("", "br0", "bridge", MAC, 1400, group),
        LinkAdd("", "v0", "veth", "", 1400, group, master="br0", peer=Peer("container:web", "eth0", MAC2, 1400)),
        BridgePortSet("", "v0", (("hairpin", "on"), ("isolated", "on"), ("mcast_flood", "off"))),
        LinkSet("", "v0", up=True),
    )
    near = picked(world.show("ip", "-d", "link"), ifname="v0")
    assert (near["master"], near["mtu"], near["group"]) == ("br0", 1400, str(group))
    port = near["linkinfo"]["info_slave_data"]
    assert (port["hairpin"], port["isolated"], port["mcast_flood"]) == (True, True, False)
    far = picked(world.show("ip", "link", netns=web), ifname="eth0")
    assert (far["address"], far["mtu"]) == (MAC2, 1400)
    world.run(LinkSet("", "v0", master="-"))
    assert "master" not in picked(world.show("ip", "link"), ifname="v0")


def test_link_without_ipv6_stays_silent(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """On a link whose MTU is too small for IPv6, `addrgenmode none` cannot be set and is no fault: it is as good as set."""
    make_namespace("web")
    add_veth(world, mtu=600)
    world.run(LinkSet("", "v0", alias="here", link_local=False))
    assert picked(world.show("ip", "link"), ifname="v0")["ifalias"] == "here"
    info = next(link for link in read_links(world.namespaces.socket("")).values() if link.name == "v0")
    assert not info.link_local


def test_vxlan_and_its_entries(world: KernelWorld) -> None:
    """A VXLAN has all that was asked for; entries per VTEP are appended to it, read back, and go one by one."""
    options = (("df", "set"), ("dstport", "4789"), ("id", "77"), ("learning", "off"), ("local", "192.0.2.1"), ("ttl", "64"))
    world.run(LinkAdd("", "vx0", "vxlan", MAC, 1400, 5, options=options))
    data = picked(world.show("ip", "-d", "link"), ifname="vx0")["linkinfo"]["info_data"]
    assert (data["id"], data["local"], data["port"], data["ttl"], data["learning"], data["df"]) == (
        *(77, "192.0.2.1", 4789, 64, False, "set"),
    )
    link = next(link for link in read_links(world.namespaces.socket("")).values() if link.name == "vx0")
    assert set(options) <= set(link.options)
    world.run(
        FdbAdd("", "vx0", "00:00:00:00:00:00", "192.0.2.2"),
        FdbAdd("", "vx0", "00:00:00:00:00:00", "192.0.2.3"),
        FdbAdd("", "vx0", MAC2, "192.0.2.2"),
    )
    found = {(entry.mac, entry.remote) for entry in read_fdb(world.namespaces.socket(""))}
    assert found == {("00:00:00:00:00:00", "192.0.2.2"), ("00:00:00:00:00:00", "192.0.2.3"), (MAC2, "192.0.2.2")}
    world.run(FdbDelete("", "vx0", "00:00:00:00:00:00", "192.0.2.2"), FdbDelete("", "vx0", MAC2, "192.0.2.2"))
    shown = [entry.get("dst") for entry in world.show("bridge", "fdb", "show", "dev", "vx0")]
    assert shown == ["192.0.2.3"]


def test_vxlan_over_ipv6_names_the_link_below(world: KernelWorld) -> None:
    """The device below and an IPv6 VTEP are written, and read back by name."""
    add_bridge(world)
    world.run(LinkAdd("", "vx0", "vxlan", MAC, 1400, 5, options=(("dev", "br0"), ("id", "9"), ("local", "fd00::1"))))
    link = next(link for link in read_links(world.namespaces.socket("")).values() if link.name == "vx0")
    assert {("dev", "br0"), ("id", "9"), ("local", "fd00::1")} <= set(link.options)


def test_macvlan_is_born_in_the_container(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """A macvlan stands in the container's namespace, over a link of the host's."""
    web = make_namespace("web")
    add_bridge(world)
    peer = Peer("container:web", "eth0", MAC2, 1400)
    world.run(LinkAdd("", "m0", "macvlan", MAC2, 1400, 5, peer=peer, options=(("link", "br0"), ("mode", "bridge"))))
    shown = picked(world.show("ip", "-d", "link", netns=web), ifname="eth0")
    assert (shown["address"], shown["linkinfo"]["info_data"]["mode"]) == (MAC2, "bridge")


def test_macvlan_waits_for_its_hardware_address(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """One in an ending namespace holds the address; the new one is up when that is gone, with what follows on it."""
    add_bridge(world)
    old, new = make_namespace("old"), make_namespace("new")
    world.own.run(*f"ip link add link br0 name eth0 netns {old.name} address {MAC2} up type macvlan mode bridge".split())
    peer = Peer("container:new", "eth0", MAC2, 1400)
    world.run(LinkAdd("", "m0", "macvlan", MAC2, 1400, 5, peer=peer, options=(("link", "br0"), ("mode", "bridge"))))
    up, route = LinkSet("container:new", "eth0", up=True), RouteAdd("container:new", 4, "10.9.0.0/24", "eth0")
    ending = threading.Timer(0.2, subprocess.run, (["ip", "netns", "delete", old.name],), {"check": True})
    ending.start()
    world.run(up, AddressAdd("container:new", "eth0", "10.9.0.2/24"), route)
    ending.join()
    assert picked(world.show("ip", "route", netns=new), dst="10.9.0.0/24")["dev"] == "eth0"


@pytest.mark.parametrize(("cidr", "broadcast"), [("10.9.0.1/24", "10.9.0.255"), ("10.9.0.1/31", None), ("fd00::1/64", None)])
def test_address_brings_no_route(world: KernelWorld, cidr: str, broadcast: str | None) -> None:
    """An address stands with its broadcast address and without a route of the kernel's; in IPv6 it is usable at once."""
    add_bridge(world)
    world.run(LinkSet("", "br0", up=True, link_local=False), AddressAdd("", "br0", cidr))
    (shown,) = picked(world.show("ip", "address"), ifname="br0")["addr_info"]
    assert f"{shown['local']}/{shown['prefixlen']}" == cidr
    assert (shown.get("broadcast"), shown["noprefixroute"], shown["scope"]) == (broadcast, True, "global")
    assert shown.get("nodad", False) == (":" in cidr)
    assert "tentative" not in shown
    assert not world.show("ip", "route") + world.show("ip", "-6", "route")
    world.run(AddressDelete("", "br0", cidr))
    assert not picked(world.show("ip", "address"), ifname="br0")["addr_info"]


def test_routes_carry_our_protocol(world: KernelWorld) -> None:
    """Connected, default and sourced routes of both families read back as they were asked for, and go again."""
    add_bridge(world)
    world.run(LinkSet("", "br0", up=True, link_local=False))
    world.run(AddressAdd("", "br0", "10.9.0.1/24"), AddressAdd("", "br0", "fd00::1/64"))
    routes = (
        RouteAdd("", 4, "10.9.0.0/24", "br0", src="10.9.0.1"),
        RouteAdd("", 4, "default", "br0", via="10.9.0.254"),
        RouteAdd("", 4, "10.8.0.0/16", "br0", via="10.9.0.3", metric=77),
        RouteAdd("", 6, "fd00::/64", "br0"),
        RouteAdd("", 6, "default", "br0", via="fd00::fe"),
        RouteAdd("", 6, "fd01::/64", "br0", via="fd00::2", metric=5),
    )
    world.run(*routes)
    found = read_routes(world.namespaces.socket(""))
    assert {(one.family, one.dst, one.via, one.src, one.metric) for one in found} == {
        (one.family, one.dst, one.via, one.src, one.metric) for one in routes
    }
    assert {one.protocol for one in found} == {ROUTE_PROTOCOL}
    shown = world.show("ip", "route") + world.show("ip", "-6", "route")
    assert {(one["dst"], one.get("gateway", "")) for one in shown} == {(one.dst, one.via) for one in routes}
    deletes = [RouteDelete("", one.family, one.dst, one.dev, one.via, one.src, one.metric) for one in routes]
    world.run(*reversed(deletes))
    assert not read_routes(world.namespaces.socket(""))


def test_route_of_another_is_not_deleted(world: KernelWorld) -> None:
    """A deletion takes an owned route only: the same one by an administrator stays, and that is no fault."""
    add_bridge(world)
    world.run(LinkSet("", "br0", up=True))
    world.own.run("ip", "route", "add", "10.8.0.0/16", "dev", "br0", "proto", "static")
    world.run(RouteDelete("", 4, "10.8.0.0/16", "br0"))
    assert picked(world.show("ip", "route"), dst="10.8.0.0/16")["protocol"] == "static"


def test_neighbors_are_permanent(world: KernelWorld) -> None:
    """Entries of both families are permanent and ours, one that is there is replaced, and proxies are answered for."""
    add_bridge(world)
    world.run(LinkSet("", "br0", up=True), AddressAdd("", "br0", "10.9.0.1/24"))
    world.run(
        NeighborAdd("", "br0", "10.9.0.2", MAC),
        NeighborAdd("", "br0", "10.9.0.2", MAC2),
        NeighborAdd("", "br0", "fd00::2", MAC2),
        NeighborAdd("", "br0", "10.9.0.3", proxy=True),
        NeighborAdd("", "br0", "fd00::3", proxy=True),
    )
    found = read_neighbors(world.namespaces.socket(""))
    assert {(one.address, one.mac, one.proxy, one.protocol) for one in found} == {
        ("10.9.0.2", MAC2, False, ROUTE_PROTOCOL),
        ("fd00::2", MAC2, False, ROUTE_PROTOCOL),
        ("10.9.0.3", "", True, ROUTE_PROTOCOL),
        ("fd00::3", "", True, ROUTE_PROTOCOL),
    }
    assert picked(world.show("ip", "neigh"), dst="10.9.0.2")["state"] == ["PERMANENT"]
    assert {one["dst"] for one in world.show("ip", "neigh", "show", "proxy")} == {"10.9.0.3", "fd00::3"}
    world.run(*(NeighborDelete("", "br0", one.address, one.proxy) for one in found))
    assert not read_neighbors(world.namespaces.socket(""))


def test_static_entry_of_a_port(world: KernelWorld, make_namespace: Callable[[str], Namespace]) -> None:
    """A forwarding entry of a bridge port is static, and is distinguished from the port's own address."""
    make_namespace("web")
    add_bridge(world)
    add_veth(world)
    world.run(LinkSet("", "v0", master="br0"), FdbAdd("", "v0", MAC2))
    assert [(one.mac, one.remote) for one in read_fdb(world.namespaces.socket(""))] == [(MAC2, "")]
    world.run(FdbDelete("", "v0", MAC2))
    assert not read_fdb(world.namespaces.socket(""))


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_refusal_names_the_step_and_the_kernels_reason(world: KernelWorld) -> None:
    """Of a batch in which one step fails, StepError names that one with the kernel's errno; those after it have run."""
    taken = LinkAdd("", "lo", "bridge", MAC, 1400, 5)
    with pytest.raises(StepError, match=r"File exists \(EEXIST\)") as caught:
        world.run(LinkAdd("", "b1", "bridge", MAC, 1400, 5), taken, LinkAdd("", "b2", "bridge", MAC, 1400, 5))
    assert caught.value.step == taken
    assert {"b1", "b2"} <= {link["ifname"] for link in world.show("ip", "link")}


def test_refusals_beyond_the_first_chunk(world: KernelWorld) -> None:
    """In a batch that takes many sends, the last step is named where it is the one that fails."""
    add_bridge(world)
    last = NeighborAdd("", "br0", "10.9.9.9", "", proxy=False)
    with pytest.raises(StepError) as caught:
        world.run(*(NeighborAdd("", "br0", f"10.9.{i // 200}.{i % 200 + 1}", MAC) for i in range(450)), last)
    assert caught.value.step == last


@pytest.mark.parametrize(
    "step",
    [
        AddressAdd("", "nobody", "10.9.0.1/24"),
        RouteAdd("", 4, "default", "nobody"),
        LinkSet("", "nobody", up=True),
        LinkAdd("", "v0", "veth", "", 1400, 5, peer=Peer("container:nobody", "eth0", MAC, 1400)),
        LinkAdd("", "b0", "bridge", "no mac", 1400, 5),
        LinkAdd("", "b0", "bridge", MAC, 1400, 5, options=(("nonsense", "1"),)),
        LinkAdd("", "b0", "bridge", MAC, 1400, 5, options=(("stp_state", "x"),)),
        LinkAdd("", "a-name-that-is-too-long", "bridge", MAC, 1400, 5),
        LinkAdd("", "b0", "no-such-kind", MAC, 1400, 5),
    ],
)
def test_impossible_step_is_a_step_error(world: KernelWorld, step: LinkAdd) -> None:
    """What cannot be done is a StepError that names the step, wherever it is found out."""
    with pytest.raises(StepError) as caught:
        world.run(step)
    assert caught.value.step == step
    assert caught.value.message


def test_what_is_gone_need_not_be_deleted(world: KernelWorld) -> None:
    """Deleting a thing that went by itself, or along with its link, is no fault."""
    add_bridge(world)
    before = world.show("ip", "address")
    world.run(AddressDelete("", "br0", "10.9.0.1/24"), RouteDelete("", 4, "default", "br0"))
    world.run(NeighborDelete("", "br0", "10.9.0.9"), AddressDelete("", "nobody", "10.9.0.1/24"))
    world.run(LinkDelete("", "nobody", 5))
    assert world.show("ip", "address") == before


# --- deletions --------------------------------------------------------------------------------------------------------


def fill(world: KernelWorld, count: int) -> list[LinkDelete]:
    group = group_of(world.context.topology)
    names = [f"b{i}" for i in range(count)]
    world.run(*(LinkAdd("", name, "bridge", "", 1400, group) for name in names))
    world.run(*(LinkSet("", name, alias=f"netctl:{world.context.topology}/bridge/{name}") for name in names))
    return [LinkDelete("", name, group) for name in names]


def names_of(world: KernelWorld) -> set[str]:
    return {link["ifname"] for link in world.show("ip", "link")}


@pytest.mark.parametrize("going", [1, 4, 6])
def test_deletion_takes_exactly_what_is_named(world: KernelWorld, going: int) -> None:
    """One link, some of a topology's links, or all: those named go, the others keep their group, and foreign ones stay."""
    deletes = fill(world, 6)
    world.own.run("ip", "link", "add", "foreign", "type", "bridge")
    world.run(*deletes[:going])
    assert names_of(world) == {"lo", "foreign", *(one.name for one in deletes[going:])}
    groups = {link["group"] for link in world.show("ip", "link") if link["ifname"].startswith("b")}
    assert groups <= {str(group_of(world.context.topology))}


@pytest.mark.parametrize("going", [1, 4])
def test_link_with_anothers_mark_is_not_deleted(world: KernelWorld, going: int) -> None:
    """A link that another topology has marked since is not deleted, nor is anything else of that batch."""
    deletes = fill(world, 4)
    world.own.run("ip", "link", "set", "b0", "alias", "netctl:other/bridge/b0")
    with pytest.raises(StepError, match="another has it"):
        world.run(*deletes[:going])
    assert {f"b{i}" for i in range(4)} <= names_of(world)


def test_deletion_that_was_killed_half_way(world: KernelWorld) -> None:
    """Links left in the group of those that go are deleted where they are named, and stay where they are not."""
    deletes = fill(world, 6)
    doomed = doomed_group_of(world.context.topology)
    world.run(*(LinkSet("", one.name, group=doomed) for one in deletes[:4]))
    world.run(*(LinkDelete("", one.name, doomed) for one in deletes[:3]))
    assert names_of(world) == {"lo", "b3", "b4", "b5"}
