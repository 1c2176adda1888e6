"""What stays on a bridge keeps its source: multicast, broadcast, and what a container routes for its neighbors."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address

import pytest

from tests.harness.worlds.overlay import PATIENCE_S, LabWorld, received

pytestmark = pytest.mark.kernel

HOSTS = """\
version: 1
name: NAME
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}
"""
TEXT = (
    HOSTS
    + """\
subnets: {front: {cidr: [10.88.0.0/24, "fd88::/64"]}}
containers:
  c1: {host: alpha, networks: {front: {address: [10.88.0.2, "fd88::2"], routes: ROUTES}}}
  near: {host: alpha, networks: {front: [10.88.0.3, "fd88::3"]}}
  far: {host: beta, networks: {front: [10.88.0.4, "fd88::4"]}}
  r: {host: beta, networks: {front: [10.88.0.5, "fd88::5"]}}
"""
)
ROUTES = '[{to: [10.89.0.0/24, "fd89::/64"], via: [10.88.0.5, "fd88::5"]}, {to: 10.89.0.128/25, via: 10.88.0.5}]'
BEHIND = ("10.89.0.1", "fd89::1")


@pytest.fixture(scope="module")
def segment(world: LabWorld) -> LabWorld:
    """The topology with br_netfilter on, and a network behind container `r`."""
    world.apply(TEXT.replace("ROUTES", ROUTES))
    for host in ("alpha", "beta"):
        for key in ("iptables", "ip6tables"):
            world.inside(f"lab.{host}").run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}=1")
    router = world.inside("r")
    for address in BEHIND:
        length = 64 if ":" in address else 24
        router.run("ip", "address", "add", f"{address}/{length}", "dev", "lo")
    return world


@pytest.mark.parametrize("target", ["239.1.2.3", "255.255.255.255", "10.88.0.255"])
@pytest.mark.parametrize("listener", ["near", "far"])
def test_groups_keep_the_sender(segment: LabWorld, target: str, listener: str) -> None:
    """Multicast and broadcast arrive with the sender's address on this host and over the VXLAN: nothing masquerades them."""
    with (
        closing(segment.open(listener, socket.AF_INET, socket.SOCK_DGRAM)) as server,
        closing(segment.open("c1", socket.AF_INET, socket.SOCK_DGRAM)) as client,
    ):
        server.bind(("0.0.0.0", 7788))
        if target.startswith("239."):
            group = ip_address(target).packed + ip_address({"near": "10.88.0.3", "far": "10.88.0.4"}[listener]).packed
            server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ip_address("10.88.0.2").packed)
        client.sendto(b"who", (target, 7788))
        server.settimeout(PATIENCE_S)
        assert server.recvfrom(100)[1][0] == "10.88.0.2"


@pytest.mark.parametrize("address", BEHIND)
def test_container_router(segment: LabWorld, address: str) -> None:
    """A network behind a container is reached by a route of another one, and sees its own address, not the host's."""
    assert segment.unreachable([("c1", address)]) == []
    with segment.serving("r", 8801):
        own = "fd88::2" if ":" in address else "10.88.0.2"
        assert segment.ask("c1", address, 8801) == f"r {own}"


def test_container_router_speaks_to_its_clients_only(segment: LabWorld) -> None:
    """From the network behind it, `r` reaches who has the route, and no other container; other sources stay forbidden."""
    assert heard(segment, "c1", "10.88.0.2", "10.89.0.1")
    assert heard(segment, "c1", "10.88.0.2", "10.89.0.200")
    assert not heard(segment, "near", "10.88.0.3", "10.89.0.1")
    assert not heard(segment, "c1", "10.88.0.2", "10.90.0.1")


def heard(world: LabWorld, listener: str, address: str, source: str) -> bool:
    """Whether a datagram that `r` sends from `source` arrives. It has the source on its loopback only."""
    world.inside("r").run("ip", "address", "replace", f"{source}/32", "dev", "lo")
    with (
        closing(world.open(listener, socket.AF_INET, socket.SOCK_DGRAM)) as server,
        closing(world.open("r", socket.AF_INET, socket.SOCK_DGRAM)) as client,
    ):
        server.bind(("0.0.0.0", 7799))
        client.bind((source, 0))
        client.sendto(source.encode(), (address, 7799))
        return received(server, source.encode(), 0.7)


def test_second_apply_changes_nothing(segment: LabWorld) -> None:
    """What lets a container route is seen as it is: no difference after it."""
    assert "nothing to do" in segment.apply(segment.file.read_text()).out.lower()


def test_router_behind_routes_is_refused(world: LabWorld) -> None:
    """With `overlay: routes` another host's container is on no common segment: the file's line is named, nothing is changed."""
    text = (
        HOSTS
        + """\
subnets: {front: {cidr: 10.88.0.0/24, overlay: routes}}
containers:
  c1: {host: alpha, networks: {front: {address: auto, routes: [{to: 10.89.0.0/24, via: 10.88.0.5}]}}}
  r: {host: beta, networks: {front: 10.88.0.5}}
"""
    )
    done = world.refused(text)
    assert done.status == 2
    assert "container r cannot be the next hop of c1" in done.err
    assert ":6:" in done.err
