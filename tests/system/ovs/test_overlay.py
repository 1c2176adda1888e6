"""A subnet over two hosts of the lab, each with an Open vSwitch of its own: the overlay is a port of both bridges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.worlds.openvswitch import START, SwitchWorld, switch_machine

pytestmark = pytest.mark.kernel

LAB = """\
version: 1
name: here
hosts:
  alpha: {connect: lab, address: 192.0.2.11ALPHA}
  beta: {connect: lab, address: 192.0.2.12BETA}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]BRIDGE}
  far: {cidr: 10.45.0.0/24, overlay: routesBRIDGE}
containers:
  web: {host: alpha, networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  app: {host: beta, networks: {front: [10.44.0.20, "fd44::20"]}}
  one: {host: alpha, networks: {far: 10.45.0.10}}
  two: {host: beta, networks: {far: 10.45.0.20}}
"""
SOCKETS = {f"{host.upper()}": f", openvswitch: unix:///run/ovs-{host}/db.sock" for host in ("alpha", "beta")}


def render(bridge: str) -> str:
    text = LAB.replace("BRIDGE", bridge)
    for mark, socket in SOCKETS.items():
        text = text.replace(mark, socket)
    return text


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """The lab with Linux bridges, and an Open vSwitch in each of its hosts."""
    with switch_machine(tmp_path_factory) as machine:
        world = SwitchWorld(machine, machine.folder / "topology.yaml")
        world.write(render(""))
        world.apply()
        for host in ("alpha", "beta"):
            world.sh(f"set -- /run/ovs-{host}\n{START}", f"here.lab.{host}")
        yield world


def test_a_segment_over_two_hosts(lab: SwitchWorld) -> None:
    """By VXLAN and by routes: across hosts all is as within one, of both families; the tunnel's port is repaired and goes."""
    lab.write(render(", bridge: openvswitch"))
    lab.apply()
    lab.netctl("verify")
    assert lab.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    assert lab.transfer("here.web", "here.app", "fd44::10", 7001) == 1 << 20
    assert lab.transfer("here.two", "here.one", "10.45.0.20", 7002) == 1 << 20
    assert lab.transfer("here.web", "here.lab.outside", "192.0.2.11", 8080, served=80) == 1 << 20
    lab.sh("ovs-vsctl --db=unix:/run/ovs-alpha/db.sock del-port x-here-front")
    assert "port x-here-front" in lab.netctl("diff", "--verbose", status=1).out
    lab.apply()
    assert lab.transfer("here.app", "here.web", "10.44.0.20", 7000) == 1 << 20
    lab.write(render(""))
    lab.apply()
    for host in ("alpha", "beta"):
        assert lab.sh(f"ovs-vsctl --db=unix:/run/ovs-{host}/db.sock list-br") == ""
    lab.netctl("verify")
    lab.write(render(", bridge: openvswitch"))
    lab.apply()
    assert lab.machine.netctl("destroy", "--name", "here").status == 0
    for host in ("alpha", "beta"):
        assert lab.sh(f"ovs-vsctl --db=unix:/run/ovs-{host}/db.sock list-br") == ""
    assert lab.machine.run("ls", "/run/netctl", check=False).status != 0
