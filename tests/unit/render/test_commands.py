"""Every step there is, as command lines."""

from __future__ import annotations

import shlex

import pytest

from reconciler.render.commands import Section, render_run, render_script
from reconciler.state.codec import step_types
from reconciler.state.container_spec import ContainerSpec, HolderSpec
from reconciler.state.engines import ENGINES
from reconciler.state.resolver import ResolverConfig
from reconciler.state.shell import EngineShell, HostShell
from reconciler.state.steps.addresses import (
    AddressAdd,
    AddressDelete,
    Announce,
    DhcpStart,
    DhcpStop,
    FdbAdd,
    FdbDelete,
    NeighborAdd,
    NeighborDelete,
    PeerAddressDelete,
    RouteAdd,
    RouteDelete,
    StrayRouteAdd,
    StrayRouteDelete,
)
from reconciler.state.steps.containers import (
    ContainerCreate,
    ContainerPark,
    ContainerStart,
    ContainerStop,
    HolderCreate,
    HostsDelete,
    HostsWrite,
    ProcessStart,
    ProcessStop,
)
from reconciler.state.steps.firewall import ConntrackFlush, IptablesAdd, IptablesDelete, NftCommand
from reconciler.state.steps.links import (
    AltnameAdd,
    AltnameDelete,
    BridgePortSet,
    LinkAdd,
    LinkDelete,
    LinkRename,
    LinkSet,
    OffloadSet,
    Peer,
    QdiscDelete,
    QdiscSet,
)
from reconciler.state.steps.names import (
    NamesDelete,
    NamesWrite,
    ResolvConfDelete,
    ResolvConfWrite,
    ResolverStart,
    ResolverStop,
)
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete, SysctlRestore, SysctlWrite
from reconciler.state.steps.openvswitch import (
    FlowAdd,
    FlowDelete,
    FragmentsSet,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from reconciler.state.steps.step import Step
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease

ENGINE = ENGINES["docker"].command("unix:///d.sock")
API = EngineShell(ENGINE, ENGINES["docker"].pid(ENGINE, "shop-api"))
LAB = HostShell("shop", "shop.lab.alpha", "shop.lab.alpha", {"api": API})
MACHINE = HostShell("shop", "local")
PID = "$(docker -H unix:///d.sock inspect -f '{{.State.Pid}}' shop-api)"
SPEC = ContainerSpec("docker", "nginx:1.27", ("nginx", "-g", "daemon off;"), (("A", "b c"),), ("/srv:/www",), "always")
FAR = "name eth0 address 02:00:00:00:00:02 mtu 1500 netns shop.web"
IN = "ip -n shop.lab.alpha"

CASES: list[tuple[Step, list[str]]] = [
    (
        LinkAdd("", "b-shop", "bridge", "02:00:00:00:00:01", 1500, 7, options=(("forward_delay", "0"),)),
        [f"{IN} link add dev b-shop address 02:00:00:00:00:01 mtu 1500 group 7 type bridge forward_delay 0"],
    ),
    (
        LinkAdd("", "v-web", "veth", "", 1500, 7, "b-shop", peer=Peer("container:web", "eth0", "02:00:00:00:00:02", 1500)),
        [f"{IN} link add dev v-web mtu 1500 group 7 master b-shop type veth peer {FAR}"],
    ),
    (
        LinkAdd("", "v-api", "veth", "", 1500, 7, peer=Peer("container:api", "eth0", "", 1500)),
        [f"{IN} link add dev v-api mtu 1500 group 7 type veth peer name eth0 mtu 1500 netns {PID}"],
    ),
    (
        LinkSet("", "v-web", alias="netctl:shop/veth/web/front", link_local=False, up=True, master="-"),
        [
            f"{IN} link set dev v-web addrgenmode none",
            f"{IN} link set dev v-web nomaster alias netctl:shop/veth/web/front up",
        ],
    ),
    (LinkSet("container:api", "eth0", mtu=1400), [f"nsenter -t {PID} -n ip link set dev eth0 mtu 1400"]),
    (AltnameAdd("", "v-web", "shop-web-front"), [f"{IN} link property add dev v-web altname shop-web-front"]),
    (BridgePortSet("", "v-web", (("hairpin", "on"),)), ["ip -n shop.lab.alpha link set dev v-web type bridge_slave hairpin on"]),
    (LinkDelete("", "v-web", 7), [f"{IN} link delete dev v-web"]),
    (
        AddressAdd("container:web", "eth0", "10.4.0.2/24"),
        ["ip -n shop.web address add 10.4.0.2/24 broadcast + dev eth0 noprefixroute"],
    ),
    (AddressAdd("container:web", "eth0", "fd::2/64"), ["ip -n shop.web address add fd::2/64 dev eth0 noprefixroute nodad"]),
    (AddressDelete("container:web", "eth0", "10.4.0.2/24"), ["ip -n shop.web address delete 10.4.0.2/24 dev eth0"]),
    (
        RouteAdd("container:web", 6, "default", "eth0", "fd::1", metric=5),
        ["ip -n shop.web -6 route add default via fd::1 dev eth0 proto 78 metric 5"],
    ),
    (RouteDelete("", 4, "10.4.0.0/24", "b-shop"), [f"{IN} -4 route delete 10.4.0.0/24 dev b-shop proto 78"]),
    (
        NeighborAdd("", "b-shop", "10.4.0.2", "02:00:00:00:00:02"),
        [f"{IN} neighbor replace 10.4.0.2 lladdr 02:00:00:00:00:02 nud permanent dev b-shop protocol 78"],
    ),
    (NeighborDelete("", "b-shop", "10.4.0.2", proxy=True), [f"{IN} neighbor delete proxy 10.4.0.2 dev b-shop"]),
    (
        FdbAdd("", "x-front", "00:00:00:00:00:00", "192.0.2.12"),
        ["bridge -n shop.lab.alpha fdb append 00:00:00:00:00:00 dev x-front dst 192.0.2.12 self permanent"],
    ),
    (
        LinkAdd("", "x-front", "vxlan", "", 1450, 7, master="b-front", options=(("id", "9"), ("learning", "off"))),
        [f"{IN} link add dev x-front mtu 1450 group 7 master b-front type vxlan id 9 nolearning"],
    ),
    (
        Announce("", "b-front", "10.4.0.2"),
        ["# apply also announces that 10.4.0.2 is at b-front now (gratuitous ARP, or its like of IPv6)"],
    ),
    (
        FdbDelete("", "v-web", "02:00:00:00:00:02"),
        ["bridge -n shop.lab.alpha fdb delete 02:00:00:00:00:02 dev v-web master static"],
    ),
    (
        NetnsDelete("container:web"),
        ["ip netns delete shop.web", "rm -f /run/netctl/shop/web.log; rmdir /run/netctl/shop 2>/dev/null || true"],
    ),
    (
        NftCommand("", "add table inet t\n"),
        ["nsenter --net=/run/netns/shop.lab.alpha nft -f - <<'EOF'", "add table inet t", "EOF"],
    ),
    (
        PeerAddressDelete("container:web", "eth0", "10.44.0.9/24", "10.44.0.3"),
        ["ip -n shop.web address delete 10.44.0.9 peer 10.44.0.3/24 dev eth0"],
    ),
    (
        StrayRouteAdd("", 4, "10.44.0.0/24", "b-front", 0, 2),
        ["ip -n shop.lab.alpha -4 route add 10.44.0.0/24 dev b-front proto 2"],
    ),
    (
        StrayRouteDelete("container:web", 4, "default", "eth0", "10.44.0.3", 0, 3, ""),
        ["ip -n shop.web -4 route delete default via 10.44.0.3 dev eth0 proto 3"],
    ),
    (
        StrayRouteDelete("container:web", 6, "fd44::/64", "lo", "", 1024, 3, "blackhole"),
        ["ip -n shop.web -6 route delete blackhole fd44::/64 proto 3 metric 1024"],
    ),
    (
        StrayRouteDelete("container:web", 4, "default", "", "", 0, 3, "nexthop object", 7),
        ["ip -n shop.web -4 route delete default nhid 7 proto 3"],
    ),
    (LinkRename("container:web", "eth0"), ["ip -n shop.web link set dev eth0 name moved%d"]),
    (AltnameDelete("container:web", "x", "eth0"), ["ip -n shop.web link property delete dev x altname eth0"]),
    (
        SysctlWrite("", "net.ipv4.conf.eth0/1.forwarding", "1", remember=False),
        ["nsenter --net=/run/netns/shop.lab.alpha sysctl -qw net.ipv4.conf.eth0/1.forwarding=1"],
    ),
    (SysctlWrite("", "net.ipv4.ip_forward", "1", remember=True), ["remember net.ipv4.ip_forward 1"]),
    (SysctlRestore("", "net.ipv4.ip_forward"), ["restore net.ipv4.ip_forward"]),
    (
        ConntrackFlush("", "udp", 53),
        ["nsenter --net=/run/netns/shop.lab.alpha conntrack -D -p udp --orig-port-dst 53 2>/dev/null || true"],
    ),
    (
        IptablesDelete("", "iptables", "filter", "DOCKER-USER", ("-j", "ACCEPT")),
        ["nsenter --net=/run/netns/shop.lab.alpha iptables -w 5 -t filter -D DOCKER-USER -j ACCEPT"],
    ),
    (
        FragmentsSet("", "b-front", "nx-match"),
        ["nsenter --net=/run/netns/shop.lab.alpha ovs-ofctl set-frags b-front nx-match"],
    ),
    (
        OvsPortAdd("", "b-front", "v-web", (("netctl:name", "web"),), is_isolated=True),
        [
            (
                "nsenter --net=/run/netns/shop.lab.alpha ovs-vsctl add-port b-front v-web -- set port v-web protected=true "
                """'external_ids:"netctl:name"="web"'"""
            )
        ],
    ),
    (
        OvsPortSet("", "v-web", (("netctl:name", "web"),)),
        [
            (
                "nsenter --net=/run/netns/shop.lab.alpha ovs-vsctl set port v-web protected=false "
                """'external_ids:"netctl:name"="web"'"""
            )
        ],
    ),
    (OvsBridgeDelete("", "b-front"), ["nsenter --net=/run/netns/shop.lab.alpha ovs-vsctl --if-exists del-br b-front"]),
    (
        FlowDelete("", "b-front", 0x77, "table=1,priority=10"),
        ["nsenter --net=/run/netns/shop.lab.alpha ovs-ofctl --strict del-flows b-front cookie=0x77/-1,table=1,priority=10"],
    ),
    (OffloadSet("container:web", "eth0", "tx", on=False), ["nsenter --net=/run/netns/shop.web ethtool -K eth0 tx off"]),
    (ContainerStart("container:api", "docker", "shop-api"), ["docker -H unix:///d.sock start shop-api"]),
    (ContainerStop("container:api", "docker", "shop-api"), ["docker -H unix:///d.sock stop shop-api"]),
]


@pytest.mark.parametrize(("step", "lines"), CASES, ids=lambda value: type(value).__name__)
def test_step(step: Step, lines: list[str]) -> None:
    """A step's command lines are those that an administrator would type."""
    assert list(step.commands(LAB)) == lines


OTHERS: list[Step] = [
    NetnsAdd("container:web", ipv6=False),
    IptablesAdd("", "iptables", "filter", "DOCKER-USER", ("-j", "ACCEPT")),
    ContainerCreate("container:api", "api", "shop-api", SPEC),
    ContainerPark("container:api", "docker", "shop-api"),
    ProcessStart("container:web", "web", ("sh", "-c", "echo $HOME; sleep 1"), (("A", "it's"),)),
    ProcessStop("container:web", "web"),
    QdiscSet("", "v-web", 1_250_000, 32_768, 157_768),
    QdiscDelete("", "v-web"),
    DhcpStart("container:web", "web", "eth0", default=True),
    DhcpStop("container:web", "web", "eth0"),
    NamesWrite("", "front", "", ("10.44.0.10 web.front.shop.internal",)),
    NamesDelete("", "front", "0b08a7e4"),
    ResolverStart("", "front", "", ResolverConfig("b-shop-front", 53, "shop.internal", ("0.44.10.in-addr.arpa",), ("host",), 5)),
    ResolverStop("", "front", "0b08a7e4"),
    ResolvConfWrite("container:web", "web", "docker", "shop-web.net", ("nameserver 10.44.0.1",)),
    ResolvConfDelete("container:web", "web", "", ""),
    UplinkEnslave("", "eth1", "b-shop-lan"),
    UplinkRelease("", "eth1", "b-shop-lan"),
    OvsBridgeAdd("", "b-shop-front", "netdev", "02:00:00:00:00:01", 1500, (("netctl:topology", "shop"),)),
    OvsBridgeSet("", "b-shop-front", "02:00:00:00:00:01", 1500, (("netctl:topology", "shop"),)),
    OvsPortDelete("", "b-shop-front", "v-web"),
    FlowAdd("", "b-shop-front", 0x77, "table=0,priority=10,in_port=LOCAL", "NORMAL"),
    HolderCreate("container:api", "api", "docker", "shop-api.net", HolderSpec("api")),
    HostsWrite("container:api", "api", "shop-api.net", ("127.0.0.1 localhost",)),
    HostsDelete("container:api", "api"),
]


def test_every_step_has_command_lines() -> None:
    """No class of step is forgotten: a new one fails here until it can be printed."""
    steps = [step for step, _ in CASES] + OTHERS
    assert {type(step) for step in steps} == set(step_types().values())
    for step in steps:
        assert list(step.commands(LAB))


def test_a_class_of_step_needs_command_lines() -> None:
    """A class of step that says no command lines is refused where it is defined, and no script is short of a line."""
    with pytest.raises(TypeError, match="Mute does not define `commands`"):
        type("Mute", (Step,), {})


def test_a_script_defines_each_function_once() -> None:
    """Settings that are remembered share one function, however many there are; a script without them has none."""
    writes = tuple(SysctlWrite("", f"net.ipv4.conf.e{number}.arp_ignore", "1", remember=True) for number in range(3))
    restore = SysctlRestore("", "net.ipv4.ip_forward")
    script = render_script("a title", [Section("alpha", LAB, ((*writes, restore),))])
    assert [script.count(f"{name}() {{") for name in ("noted", "remember", "restore")] == [1, 1, 1]
    assert "() {" not in render_script("a title", [Section("alpha", LAB, ((NetnsDelete("container:web"),),))])


def test_an_uplink_joins_open_vswitch_before_its_addresses_move_and_leaves_it_after() -> None:
    """The port is written with the number that its rule names; no `ip` command puts the uplink into a bridge."""
    add = OvsPortAdd("", "b-shop-lan", "eth1", (("netctl:uplink", "eth1"),), number=65000)
    joins = list(UplinkEnslave("", "eth1", "b-shop-lan", (add,)).commands(LAB))
    port = next(line for line in joins if "ovs-vsctl add-port b-shop-lan eth1" in line)
    assert port.endswith("-- set interface eth1 ofport_request=65000")
    assert "ip link set dev eth1 up" in joins[joins.index(port) + 1]
    leaves = list(UplinkRelease("", "eth1", "b-shop-lan", (OvsPortDelete("", "b-shop-lan", "eth1"),)).commands(LAB))
    assert "ip link set dev eth1 up" in leaves[0]
    assert leaves[-1].endswith("ovs-vsctl --if-exists del-port b-shop-lan eth1")


def test_words_of_users_are_quoted() -> None:
    """A command with blanks, quotes and dollars comes out of the shell as it went in."""
    created = next(iter(OTHERS[2].commands(LAB)))
    words = shlex.split(created)
    assert words[-4:] == ["nginx:1.27", "nginx", "-g", "daemon off;"]
    assert "A=b c" in words
    started = list(OTHERS[4].commands(LAB))[-1]
    assert "echo $HOME; sleep 1" in shlex.split(started.partition(" </dev/null")[0])


def test_a_heredoc_cannot_be_ended_by_its_text() -> None:
    """A line `EOF` within an nft text does not end it early."""
    assert list(NftCommand("", "EOF\nx").commands(MACHINE)) == ["nft -f - <<'EOF_'", "EOF\nx", "EOF_"]


def test_nft_steps_of_a_run_are_one_transaction() -> None:
    """What stands together goes to one nft; another step or namespace in between ends it."""
    steps = (NftCommand("", "one"), NftCommand("", "two"), LinkDelete("", "x", 1), NftCommand("", "three"))
    lines = list(render_run(steps, MACHINE))
    assert lines == ["nft -f - <<'EOF'", "one\ntwo", "EOF", "ip link delete dev x", "nft -f - <<'EOF'", "three", "EOF"]


def test_script_has_a_header_and_stops_at_errors() -> None:
    """The script says what it is, stops at the first failure, and leaves out hosts without steps."""
    sections = [Section("alpha: make", LAB, ((NetnsDelete("container:web"),),)), Section("beta", LAB, ())]
    script = render_script("a title", sections)
    assert script.startswith("#!/bin/sh\n# a title\n")
    assert "\nset -eu\n" in script
    assert "beta" not in script
