"""The uplink is the link by which packets leave, whichever link holds the host's address."""

from __future__ import annotations

import json

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.facts.egress import choose_uplinks
from reconciler.state.snapshot import AddressInfo, LinkInfo, NamespaceInfo, RouteInfo
from tests.harness.machine import Machine
from tests.harness.topologies.local import write

ON_LOOPBACK = """\
version: 1
name: here
hosts: {one: {connect: local, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers: {web: {networks: {front: 10.44.0.10}, ports: ["8080:80"]}}
"""
TWO = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 198.51.100.12}
subnets: {front: {cidr: 10.44.0.0/24, overlay: vxlan}}
containers:
  web: {host: alpha, networks: {front: 10.44.0.10}}
  app: {host: beta, networks: {front: 10.44.0.20}}
"""
SERVICE_ADDRESS = """
    ip address delete 192.0.2.11/24 dev eth0; ip address add 192.0.2.11/32 dev lo; ip address add 192.0.2.5/24 dev eth0
    ip route add default via 192.0.2.1 src 192.0.2.11
"""


def mtu_of(machine: Machine, dev: str, netns: str = "") -> int:
    return int(json.loads(machine.run("ip", "-j", "link", "show", "dev", dev, netns=netns).out)[0]["mtu"])


@pytest.mark.kernel
def test_a_service_address_on_the_loopback(furnished: Machine) -> None:
    """With the host's address on `lo`, a NATed subnet gets the MTU of the default route's link, and its packets leave there."""
    furnished.sh(SERVICE_ADDRESS + "ip -n world route add 192.0.2.11 via 192.0.2.5")
    path = write(furnished, ON_LOOPBACK)
    done = furnished.netctl("apply", path)
    assert done.status == 0, done.err
    assert mtu_of(furnished, "b-here-front") == 1500
    furnished.run("ping", "-c1", "-W2", "-M", "do", "-s", "1472", "192.0.2.1", netns="here.web")
    assert furnished.netctl("diff", path).status == 0


@pytest.mark.kernel
def test_a_loopback_that_has_the_address_too(machine: Machine) -> None:
    """A lab host that gets its address on `lo` as well keeps a VXLAN of the underlay's MTU, and full packets pass."""
    path = write(machine, TWO)
    assert machine.netctl("apply", path).status == 0
    machine.sh("ip -n shop.lab.alpha address add 192.0.2.11/32 dev lo")
    done = machine.netctl("apply", path)
    assert done.status == 0, done.err
    tunnels = json.loads(machine.run("ip", "-j", "link", "show", "type", "vxlan", netns="shop.lab.alpha").out)
    assert [link["mtu"] for link in tunnels] == [1450]
    machine.run("ping", "-c1", "-W2", "-M", "do", "-s", "1422", "10.44.0.20", netns="shop.web")


def choose(routes: tuple[RouteInfo, ...], peers: tuple[str, ...] = (), address: str = "192.0.2.11") -> list[tuple[str, int]]:
    links = {
        1: LinkInfo(1, "lo", "", "", 65536, 0, True),
        2: LinkInfo(2, "eth0", "", "02:00:00:00:00:02", 1500, 0, True),
        3: LinkInfo(3, "eth1", "", "02:00:00:00:00:03", 9000, 0, True),
    }
    held = (AddressInfo(1, "192.0.2.11/32", 0, 0), AddressInfo(3, "203.0.113.9/24", 0, 0))
    host = NamespaceInfo(links, held, routes)
    found = choose_uplinks(host, KernelContext("shop", "local", addresses=(address,), peers=peers))
    return [(link.name, link.mtu) for link in found]


def route(dst: str, index: int, metric: int = 0) -> RouteInfo:
    return RouteInfo(6 if ":" in dst else 4, dst, index, "", "", metric, 3, 0)


def test_routes_choose_the_uplink() -> None:
    """The longest prefix to a peer wins, then the metric, then the default route, then a link that holds the address."""
    default = route("default", 2)
    assert choose((default,)) == [("eth0", 1500)]
    assert choose((default, route("203.0.113.0/24", 3)), ("203.0.113.7",)) == [("eth1", 9000)]
    assert choose((default, route("0.0.0.0/1", 3)), ("203.0.113.7",)) == [("eth0", 1500)]
    assert choose((route("default", 3, 50), default)) == [("eth0", 1500)]
    assert choose((default, route("203.0.113.0/24", 3)), ("198.51.100.1", "203.0.113.7")) == [("eth0", 1500), ("eth1", 9000)]
    assert choose((default, route("2001:db8::/64", 3)), ("2001:db8::7",)) == [("eth1", 9000)]
    assert choose((default, route("203.0.113.0/24", 0)), ("203.0.113.7",)) == [("eth0", 1500)]
    assert choose((), address="203.0.113.9") == [("eth1", 9000)]
    assert choose(()) == []
