"""What `verify` makes of static routes: each is asked of the container's kernel, and what they change for others is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.compile import compile_topology
from reconciler.compile.routers import find_unknown_routers
from reconciler.errors import TopologyError
from reconciler.probes.model import ALLOWED, FORBIDDEN, ROUTES, Probe, RouteLookup
from reconciler.topology.load import parse_topology
from reconciler.verify.expectations import compile_probes
from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace

HEAD = """\
version: 1
name: NAME
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24}}
containers:
"""
FORWARDS = "sysctls: {net.ipv4.conf.IFNAME.forwarding: 1}"
ROUTER = f"  r: {{networks: {{front: {{address: 10.44.0.9, {FORWARDS}}}, back: {{address: 10.45.0.9, {FORWARDS}}}}}}}\n"
THERE = "  web: {networks: {front: {address: 10.44.0.10, routes: [{to: 10.45.0.0/24, via: 10.44.0.9}]}}}\n"
BACK = "  db: {networks: {back: {address: 10.45.0.20, routes: [{to: 10.44.0.0/24, via: 10.45.0.9}]}}}\n"
NO_BACK = "  db: {networks: {back: 10.45.0.20}}\n"
POLICY = "policies: [{allow: web, to: db}]\n"


def probes_of(containers: str) -> tuple[Probe, ...]:
    topology = parse_topology((HEAD.replace("NAME", "shop") + containers).encode())
    return compile_probes(topology, compile_topology(topology, {}).resolved, {}).probes


def asked(containers: str, target: str, address: str) -> list[tuple[str, bool]]:
    """Section and expectation of what `web` asks at an address of the target."""
    found = (each for each in probes_of(containers) if (each.source, each.target, each.address) == ("web", target, address))
    return [(each.section, each.expected) for each in found if each.kind == "icmp" and not each.size]


def test_every_route_is_asked() -> None:
    """The kernel must pick the next hop, asked of an address that no other route takes; the topology's next hop must answer."""
    routes = "[{to: 10.8.0.0/15, via: 10.44.0.9}, {to: 10.8.0.0/24, via: 10.44.0.77}, {to: 10.9.0.7, via: 10.44.0.1}]"
    probes = probes_of(THERE.replace("[{to: 10.45.0.0/24, via: 10.44.0.9}]", routes) + ROUTER)
    found = [(each.target, each.address, each.via, each.interface) for each in probes if isinstance(each, RouteLookup)]
    assert found == [
        ("10.8.0.0/15 by 10.44.0.9", "10.8.1.0", "10.44.0.9", "eth0"),
        ("10.8.0.0/24 by 10.44.0.77", "10.8.0.1", "10.44.0.77", "eth0"),
        ("10.9.0.7/32 by 10.44.0.1", "10.9.0.7", "10.44.0.1", "eth0"),
    ]
    hops = [(each.target, each.address) for each in probes if each.section == ROUTES and each.kind == "icmp"]
    assert hops == [("r", "10.44.0.9"), ("host alpha", "10.44.0.1")]


@pytest.mark.parametrize("policy", ["", POLICY])
@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        (THERE + BACK + ROUTER, [(ROUTES, True)]),
        (THERE + NO_BACK + ROUTER, [(FORBIDDEN, False)]),
        (THERE.replace("44.0.9", "44.0.77") + NO_BACK + ROUTER, [(FORBIDDEN, False)]),
        (THERE + BACK + ROUTER.replace("forwarding: 1", "forwarding: 0"), [(FORBIDDEN, False)]),
        (THERE + BACK + ROUTER.replace(f", {FORWARDS}", ""), []),
    ],
    ids=["both ways", "one way", "nobody", "no forwarding", "not said"],
)
def test_between_containers(containers: str, expected: list[tuple[str, bool]], policy: str) -> None:
    """By a container that forwards both ways all passes, policy or not; else nothing. What the file leaves open is not asked."""
    assert asked(containers + policy, "db", "10.45.0.20") == expected


def test_the_router_itself_and_the_host() -> None:
    """A router's far address answers who has a route by it. By the host, the policies say what passes."""
    assert asked(THERE + BACK + ROUTER, "r", "10.45.0.9") == [(ROUTES, True)]
    by_host = THERE.replace("44.0.9", "44.0.1") + NO_BACK
    assert asked(by_host, "db", "10.45.0.20") == [(FORBIDDEN, False)]
    assert asked(by_host + POLICY, "db", "10.45.0.20") == [(ALLOWED, True)]


def test_what_a_route_takes_elsewhere_is_not_asked() -> None:
    """No promise of the host holds for an address to which a route by another next hop leads: the outside, and its own."""
    for to, address, target in (("203.0.113.0/24", "203.0.113.10", "outside"), ("192.0.2.0/24", "192.0.2.11", "host alpha")):
        assert asked(THERE, target, address)
        assert not asked(THERE.replace("10.45.0.0/24", to), target, address)


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        (THERE.replace("44.0.9", "44.0.255"), "10.44.0.255 is the network or broadcast address of `front`"),
        (THERE.replace("44.0.9", "44.0.0"), "10.44.0.0 is the network or broadcast address of `front`"),
        (THERE.replace("44.0.9", "45.0.9") + ROUTER, "the next hop 10.45.0.9 is not in `front`"),
        (THERE.replace("44.0.9", "44.0.10"), "container web cannot be its own next hop"),
        (THERE.replace("}}}\n", "}, back: 10.45.0.10}}\n"), "10.45.0.0/24 is `back`, which `web` is in"),
        (
            THERE.replace("10.45.0.0/24", "10.9.0.0/16").replace(
                "}}}\n", "}, back: {address: auto, routes: [{to: 10.9.0.0/16, via: 10.45.0.9}]}}}\n"
            ),
            "the route to 10.9.0.0/16 is given twice",
        ),
        (
            (THERE + ROUTER).replace("44.0.10,", "44.0.10, isolated: true,").replace("44.0.9, s", "44.0.9, isolated: true, s"),
            "both are isolated in front",
        ),
    ],
)
def test_what_the_kernel_would_not_take(containers: str, said: str) -> None:
    """A next hop that is none, and a second route to one network in the main table, are refused in the file."""
    with pytest.raises(TopologyError) as caught:
        probes_of(containers)
    assert any(said in fault.message for fault in caught.value.faults), caught.value.faults


def test_a_next_hop_that_no_node_has() -> None:
    """It is warned of, with its line, but not on a LAN, where it may be a router of others."""

    def warnings(text: str) -> list[str]:
        topology = parse_topology(text.encode())
        return [each.message for each in find_unknown_routers(topology, compile_topology(topology, {}).resolved)]

    text = HEAD.replace("NAME", "shop") + THERE.replace("44.0.9", "44.0.77")
    assert warnings(text) == ["no container and no host of front has the next hop 10.44.0.77: what web sends there is lost"]
    assert not warnings(text + "  r: {networks: {front: 10.44.0.77}}\n")
    assert not warnings(text.replace("0.77", "0.1"))
    lan = text.replace("10.44.0.", "192.0.2.").replace("192.0.2.0/24}", "192.0.2.0/24, mode: macvlan}")
    assert not warnings(lan)


@pytest.mark.kernel
def test_in_the_lab(topology_name: str, tmp_path: Path) -> None:
    """`verify` holds with a router between two containers, and fails when the container's kernel picks another next hop."""
    file = tmp_path / "topology.yaml"
    file.write_text(HEAD.replace("NAME", topology_name) + THERE + BACK + ROUTER)
    try:
        applied = run_netctl("apply", file)
        assert applied.status == 0, applied.err
        verified = run_netctl("verify", file)
        assert verified.status == 0, verified.out
        assert "static routes" in verified.out
        own = ("10.45.0.0/25", "via", "10.44.0.1")
        Namespace(f"{topology_name}.web").run("ip", "route", "add", *own)
        verified = run_netctl("verify", file)
        assert verified.status == 6
        assert "the kernel sends by 10.44.0.1 over eth0" in verified.out
        Namespace(f"{topology_name}.web").run("ip", "route", "delete", *own)
        file.write_text(HEAD.replace("NAME", topology_name) + THERE + NO_BACK + ROUTER + POLICY)
        assert run_netctl("apply", file).status == 0
        verified = run_netctl("verify", file)
        assert verified.status == 0, verified.out
        file.write_text(HEAD.replace("NAME", topology_name) + THERE.replace("44.0.9", "44.0.77") + NO_BACK)
        applied = run_netctl("apply", file)
        assert "no container and no host of front has the next hop 10.44.0.77" in applied.err
        verified = run_netctl("verify", file)
        assert verified.status == 0, verified.out
    finally:
        run_netctl("destroy", "-y", file)
