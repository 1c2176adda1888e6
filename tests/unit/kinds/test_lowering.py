"""The steps of the kinds: in the order that the kernel insists on, and no more than what differs."""

from __future__ import annotations

from dataclasses import replace

from reconciler.kinds.addressing.address import Address
from reconciler.kinds.addressing.dhcp import Dhcp
from reconciler.kinds.addressing.neighbor import Neighbor
from reconciler.kinds.addressing.route import Route
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.netns import Netns
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.sysctl import SILENCE, Sysctl, interface_of
from reconciler.plan.plan import compile_plan
from reconciler.plan.rollback import rollback_target
from reconciler.state.host import HostState
from reconciler.state.naming import group_of
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps.addresses import DhcpStart, DhcpStop, NeighborAdd, RouteAdd, RouteDelete
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkSet, Peer
from reconciler.state.steps.namespaces import NetnsAdd, SysctlRestore, SysctlWrite

GROUP = group_of("shop")
BRIDGE = Bridge(
    netns=HOST,
    name="b-shop-front",
    mac="02:00:00:00:00:01",
    mtu=1500,
    group=GROUP,
    alias="netctl:shop/bridge/front",
    altname="shop-front",
)
WEB = "container:web"
VETH = Veth(
    netns=HOST,
    name="v-shop-web",
    peer_netns=WEB,
    peer_name="eth0",
    mac="02:00:00:00:00:02",
    mtu=1500,
    peer_mtu=1500,
    group=GROUP,
    alias="netctl:shop/veth/web/front",
    master="b-shop-front",
    altname="shop-web-front",
    port_options=(("hairpin", "on"),),
)


def test_a_bridge_goes_up_last() -> None:
    """It is made down, named and set to make no link-local address, and only then set up."""
    steps = BRIDGE.lower_create()
    assert [type(step) for step in steps] == [LinkAdd, LinkSet, AltnameAdd, LinkSet]
    assert steps[1] == LinkSet(HOST, "b-shop-front", mtu=1500, alias=BRIDGE.alias, link_local=False)
    assert steps[-1] == LinkSet(HOST, "b-shop-front", up=True)


def test_a_bridge_is_repaired_in_place() -> None:
    """Each drifted attribute is set back by itself, and a bridge is never re-created."""
    drifted = replace(BRIDGE, mtu=1400, options=(("forward_delay", "0"), ("mcast_snooping", "1"), ("stp_state", "0")))
    assert not BRIDGE.must_recreate(drifted)
    assert BRIDGE.lower_update(drifted) == (
        LinkSet(HOST, "b-shop-front", mtu=1500),
        LinkSet(HOST, "b-shop-front", kind="bridge", options=(("mcast_snooping", "0"),)),
    )


def test_a_container_is_connected_last() -> None:
    """The remote end is born under its final name, and set up when all else about the pair is done."""
    steps = VETH.lower_create()
    assert [type(step) for step in steps] == [LinkAdd, LinkSet, AltnameAdd, BridgePortSet, LinkSet, LinkSet]
    assert isinstance(steps[0], LinkAdd)
    assert steps[0].peer == Peer(WEB, "eth0", "02:00:00:00:00:02", 1500)
    assert not steps[0].up
    assert steps[-1] == LinkSet(WEB, "eth0", up=True)


def test_a_new_port_needs_no_word_about_defaults() -> None:
    """A port that a container publishes nothing on costs no message for its options."""
    plain = replace(VETH, port_options=(("hairpin", "off"),))
    assert not [step for step in plain.lower_create() if isinstance(step, BridgePortSet)]


def test_a_veth_is_repaired_at_the_end_that_differs() -> None:
    """Its remote end's MAC and MTU are set there, its local end's bridge and options here."""
    drifted = replace(VETH, peer_mtu=1300, mac="02:00:00:00:00:09", master="", port_options=())
    assert VETH.lower_update(drifted) == (
        LinkSet(HOST, "v-shop-web", master="b-shop-front"),
        LinkSet(WEB, "eth0", mac="02:00:00:00:00:02", mtu=1500),
        BridgePortSet(HOST, "v-shop-web", (("hairpin", "on"),)),
    )


def test_a_veth_of_another_name_inside_is_recreated() -> None:
    """What the remote end is called, and where it is, is settled when the pair is made."""
    assert VETH.must_recreate(replace(VETH, peer_name="eth1"))
    assert VETH.must_recreate(replace(VETH, peer_netns="", peer_name=""))
    assert not VETH.must_recreate(replace(VETH, mtu=1400, up=False))


def test_a_container_waits_for_its_firewall() -> None:
    """A pair follows both tables, and the element that puts its port under the filter."""
    followed = set(VETH.follows)
    assert {Ref("firewall", HOST, "inet"), Ref("firewall", HOST, "bridge")} <= followed
    assert Ref("element", HOST, "bridge ports v-shop-web") in followed


def test_ipv4_routes_and_neighbors_go_with_their_address() -> None:
    """The kernel drops both with the last IPv4 address of an interface, so they depend on it."""
    link = VETH.ref
    address = Address(netns=WEB, dev="eth0", cidr="10.44.0.10/24", link=link)
    route = Route(netns=WEB, family=4, dst="default", dev="eth0", link=link, via="10.44.0.1", address=address.ref)
    neighbor = Neighbor(netns=WEB, dev="eth0", address="10.44.0.1", mac="02:00:00:00:00:01", link=link, own_address=address.ref)
    assert address.ref in route.depends_on
    assert address.ref in neighbor.depends_on
    assert address.depends_on == (link,)


def test_the_switch_of_a_namespace_writes_that_of_a_link() -> None:
    """With IPv6 on in an engine's container, the kernel resets the value that the file gives one link: it is written after."""
    key = interface_key(6, "eth0", "disable_ipv6")
    own = Sysctl(netns=WEB, key=key, value="1", owner=VETH.ref)
    others = (VETH, Sysctl(netns=WEB, key=interface_key(6, "eth0", "hop_limit"), value="7", owner=VETH.ref), own)
    off, on = (Sysctl(netns=WEB, key=SILENCE, value=value) for value in ("1", "0"))
    plan = compile_plan(HostState.of((off, *others)), HostState.of((on, *others)))
    steps = [step for batch in plan.make for step in batch.steps]
    assert steps == [SysctlWrite(WEB, SILENCE, "0", remember=False), SysctlWrite(WEB, key, "1", remember=False)]


def test_a_route_is_replaced_by_two_steps_and_a_neighbor_by_one() -> None:
    """The kernel takes a route with another metric for another route, but a neighbor's address for its name."""
    link = VETH.ref
    new, old = (Route(netns=WEB, family=4, dst="default", dev="eth0", link=link, via=via) for via in ("10.44.0.1", "10.44.0.254"))
    assert [type(step) for step in new.lower_update(old)] == [RouteDelete, RouteAdd]
    one, other = (
        Neighbor(netns=WEB, dev="eth0", address="10.44.0.1", mac=mac, link=link)
        for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02")
    )
    assert one.lower_update(other) == (NeighborAdd(WEB, "eth0", "10.44.0.1", "02:00:00:00:00:01"),)


def test_a_namespace_is_switched_as_a_whole() -> None:
    """IPv6 goes on or off by one write for all interfaces; the loopback is set up."""
    on, off = Netns(WEB), Netns(WEB, ipv6=False)
    assert on.lower_create() == (NetnsAdd(WEB, ipv6=True),)
    assert SysctlWrite(WEB, "net.ipv6.conf.all.disable_ipv6", "0", remember=False) in on.lower_update(off)
    assert on.lower_update(replace(on, loopback=False))[0] == LinkSet(WEB, "lo", up=True)


def test_a_namespace_without_ipv6_keeps_its_loopback() -> None:
    """What is switched off as a whole is switched on again for ::1, whichever record switches it off."""
    switched = SysctlWrite(WEB, "net.ipv6.conf.all.disable_ipv6", "1", remember=False)
    kept = SysctlWrite(WEB, "net.ipv6.conf.lo.disable_ipv6", "0", remember=False, if_there=True)
    off = Netns(WEB, ipv6=False)
    changing, silent = (replace(kept, key="net.ipv6.conf.lo.accept_ra", value=value) for value in "20")
    steps = off.lower_update(Netns(WEB))
    assert (steps[0], steps[-3:]) == (changing, (switched, kept, silent))
    assert off.lower_update(replace(off, settled=False)) == steps
    assert off.lower_update(replace(off, loopback=False))[-2:] == (kept, silent)
    assert Sysctl(netns=WEB, key=switched.key, value="1").lower_create() == (switched, kept)


def test_links_of_a_namespace_that_gets_ipv6_are_as_if_made_with_it() -> None:
    """They wait for no duplicates and ask for no routers; where a LAN's routers are heeded, that is left to the LAN."""
    off = Netns(WEB, ipv6=False, links=("eth0",))
    written = {step.key: step.value for step in Netns(WEB).lower_update(off) if isinstance(step, SysctlWrite)}
    names = ("accept_dad", "accept_ra")
    wanted = {f"net.ipv6.conf.{scope}.{name}" for scope in ("default", "eth0") for name in names}
    everywhere = {"net.ipv6.conf.all.accept_dad", "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.lo.disable_ipv6"}
    assert written == dict.fromkeys(wanted | everywhere, "0") | {"net.ipv6.conf.lo.accept_ra": "1"}
    heeding = Netns(WEB, accepts_router_advertisements=True).lower_update(off)
    assert "net.ipv6.conf.eth0.accept_ra" not in {step.key for step in heeding if isinstance(step, SysctlWrite)}
    back = {step.key: step.value for step in off.lower_update(Netns(WEB, links=("eth0",))) if isinstance(step, SysctlWrite)}
    assert {key: back[key] for key in wanted} == dict.fromkeys(wanted, "1")


def test_a_setting_of_a_link_is_written_again_after_ipv6_was_switched() -> None:
    """The switch of the whole namespace overwrites it, so it is part of the plan, and comes later."""
    setting = Sysctl(netns=WEB, key="net.ipv6.conf.eth0.accept_ra", value="1")
    off, on = (Sysctl(netns=WEB, key=SILENCE, value=value) for value in "10")
    for before, after in ((Netns(WEB, ipv6=False), Netns(WEB)), (off, on), (on, off)):
        plan = compile_plan(HostState.of((setting, before)), HostState.of((setting, after)))
        keys = [step.key for batch in plan.make for step in batch.steps if isinstance(step, SysctlWrite)]
        assert keys.index(SILENCE) < keys.index(setting.key)


def test_what_needs_ipv6_follows_its_switch() -> None:
    """Addresses, routes and neighbor entries of IPv6 come after the namespace has it: the kernel refuses each of them before."""
    link = Veth.ref_of(HOST, "v-shop-web")
    records = (
        Address(netns=WEB, dev="eth0", cidr="fd44::10/64", link=link),
        Route(netns=WEB, family=6, dst="default", dev="eth0", link=link, via="fd44::1"),
        Neighbor(netns=WEB, dev="eth0", address="fd44::1", mac="02:00:00:00:00:01", link=link),
    )
    for record in records:
        assert {Netns.ref_of(WEB), Sysctl.ref_of(WEB, SILENCE)} <= set(record.follows)


def test_a_remembered_setting_comes_back() -> None:
    """Only a setting of a namespace that was there before netctl is restored; a rollback restores it too."""
    ours = Sysctl(netns=HOST, key="net.ipv4.ip_forward", value="1", remember=True)
    before = Sysctl(netns=HOST, key="net.ipv4.ip_forward", value="0")
    assert ours.lower_update(before) == (SysctlWrite(HOST, "net.ipv4.ip_forward", "1", remember=True),)
    assert ours.lower_delete() == before.lower_update(ours) == (SysctlRestore(HOST, "net.ipv4.ip_forward"),)
    assert before.lower_delete() == ()


def test_a_dot_in_an_interfaces_name_is_a_slash_in_its_key() -> None:
    """As sysctl(8) has it; and the name is found again."""
    assert interface_key(6, "eth0.100", "accept_ra") == "net.ipv6.conf.eth0/100.accept_ra"
    assert interface_of("net.ipv6.conf.eth0/100.accept_ra") == "eth0.100"
    assert interface_of("net.ipv4.ip_forward") == ""


def test_a_client_that_was_left_behind_goes_before_anything_is_made() -> None:
    """It keeps a namespace alive whose macvlan has the address of the new one; an apply that is rolled back does without it."""
    link = Macvlan(
        netns=WEB,
        name="eth0",
        lower="eth1",
        mode="bridge",
        mac="02:00:00:00:00:01",
        mtu=1500,
        group=5,
        alias="netctl:shop/macvlan/web",
    )
    live = HostState.of([Dhcp(netns=WEB, container="web", dev="eth0", default=True, in_place=False)])
    plan = compile_plan(live, HostState.of([link, Dhcp(netns=WEB, container="web", dev="eth0", default=True, link=link.ref)]))
    assert [step for batch in plan.remove for step in batch.steps] == [DhcpStop(WEB, "web", "eth0")]
    assert [type(step) for batch in plan.make for step in batch.steps][-1] is DhcpStart
    assert rollback_target(live) == HostState({})
