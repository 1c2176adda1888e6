"""The lab of a topology: what stays, what is replaced and noted, and what the lab cannot have."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.compile.resolve import resolve
from reconciler.topology.load import parse_topology
from reconciler.topology.rehearsal import Rehearsal, rehearse
from tests.harness.topologies.graphs import EXAMPLES, read


def of(text: str) -> Rehearsal:
    return rehearse(parse_topology(f"version: 1\nname: prod\n{text}".encode()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_a_lab(path: Path) -> None:
    """All hosts are lab hosts, all containers plain namespaces, none is lost, and every address can be chosen without a host."""
    topology = read(path)
    lab = rehearse(topology).topology
    assert {host.connect.scheme for host in lab.hosts.values()} == {"lab"}
    assert {container.spec.runtime for container in lab.containers.values()} == {"netns"}
    assert not any(container.existing or container.spec.command or container.spec.env for container in lab.containers.values())
    assert list(lab.hosts) == list(topology.hosts)
    assert list(lab.containers) == [container.name for container in topology.declared]
    assert len(lab.policies) == len(topology.policies)
    _, faults = resolve(lab, {})
    assert faults == ()


def test_a_lab_stays_as_it_is() -> None:
    """A file whose hosts are lab hosts and whose containers are namespaces needs no note."""
    topology = read(EXAMPLES[0])
    found = rehearse(topology)
    assert found.notes == ()
    assert found.topology.hosts == topology.hosts
    assert found.topology.subnets == topology.subnets


def test_addresses_that_files_name_stay() -> None:
    """Published ports and their sources name hosts' addresses, so the lab has the same ones."""
    lab = rehearse(read(next(path for path in EXAMPLES if path.stem == "ssh-production"))).topology
    assert [str(host.addresses[0]) for host in lab.hosts.values()] == ["192.0.2.11", "192.0.2.12"]
    assert str(lab.containers["web"].publications[1].sources[0]) == "192.0.2.0/24"


def test_an_address_that_is_the_labs_own_is_moved_with_its_ports() -> None:
    """The lab's router has .1: a host there gets another address, and so does the port that listens on it."""
    found = of("""
hosts: {gate: {connect: ssh://root@gate, address: 192.0.2.1}, other: {connect: ssh://root@other, address: 192.0.2.11}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers: {web: {host: gate, networks: {front: auto}, ports: ["192.0.2.1:80:80"]}}
""")
    address = found.topology.hosts["gate"].addresses[0]
    assert str(address) == "192.0.2.12"
    assert found.topology.containers["web"].publications[0].address == address
    assert found.notes == ("the address 192.0.2.1 of gate is 192.0.2.12 in the lab, because the lab needs its place",)


@pytest.mark.parametrize("address", ["203.0.113.10", "10.44.1.5"])
def test_an_address_in_a_network_that_is_taken_is_moved(address: str) -> None:
    """Not in the lab's world outside, nor in a segment of the lab that overlaps a subnet."""
    found = of(f"""
hosts: {{gate: {{connect: ssh://root@gate, address: {address}}}}}
subnets: {{front: {{cidr: 10.44.1.128/25}}}}
containers: {{web: {{networks: {{front: auto}}}}}}
""")
    assert str(found.topology.hosts["gate"].addresses[0]) == "192.0.2.11"
    assert resolve(found.topology, {})[1] == ()


def test_a_host_without_an_address_gets_one() -> None:
    """This machine has no address in the file; the lab host has one, and a note says so."""
    found = of(
        "hosts: {here: {connect: local}}\nsubnets: {front: {cidr: 192.0.2.0/24}}\ncontainers: {web: {networks: {front: auto}}}"
    )
    assert [str(address) for address in found.topology.hosts["here"].addresses] == ["198.51.100.11"]
    assert found.notes == ("here has the address 198.51.100.11 in the lab, because the file gives it no IPv4 address",)


def test_a_lan_of_the_lab_is_rehearsed() -> None:
    """A /24 is a segment of the lab: the host has an address in it, leases become addresses, and the router is the lab's."""
    found = of("""
hosts: {here: {connect: local}}
subnets: {lan: {cidr: 192.168.7.0/24, mode: direct, uplink: eth1, gateway: 192.168.7.254}}
containers: {web: {networks: {lan: {dhcp: true}}}, db: {networks: {lan: 192.168.7.11}}}
""")
    lab = found.topology
    assert str(lab.hosts["here"].addresses[0]) == "192.168.7.12"
    assert str(lab.containers["web"].attachments[0].addresses[0]) == "192.168.7.13"
    assert not lab.containers["web"].attachments[0].dhcp
    assert (lab.subnets["lan"].uplink, dict(lab.subnets["lan"].gateways)) == ("", {})
    assert "web has 192.168.7.13 in lan in place of a lease" in found.notes
    assert "subnet lan is on the lab's segment in place of eth1" in found.notes


def test_what_the_lab_cannot_have_is_left_out_with_a_note() -> None:
    """A LAN of another size, and a second bridge over a host's one uplink; policies of what is left out go with it."""
    found = of("""
hosts: {here: {connect: local}}
subnets:
  wide: {cidr: 192.168.0.0/16, mode: direct, uplink: eth1}
  one: {cidr: 172.20.7.0/24, mode: direct, uplink: eth2}
  two: {cidr: 172.20.8.0/24, mode: direct, uplink: eth3}
  front: {cidr: 10.44.0.0/24}
containers:
  a: {networks: {wide: 192.168.7.7}}
  b: {networks: {one: 172.20.7.7}}
  c: {networks: {two: 172.20.8.7}}
  d: {networks: {front: auto}}
""")
    assert list(found.topology.subnets) == ["one", "front"]
    assert found.topology.containers["a"].attachments == ()
    assert "subnet wide is left out: 192.168.0.0/16 is not a LAN of the lab" in found.notes
    assert "subnet two is left out: 172.20.8.0/24 is not a LAN of the lab" in found.notes
    assert resolve(found.topology, {})[1] == ()


def test_larger_packets_than_the_labs_are_left_out() -> None:
    """The lab's links carry 1,500 bytes: a larger MTU of a subnet or an interface has no effect, and a note."""
    found = of("""
hosts: {here: {connect: local}}
subnets: {front: {cidr: 10.44.0.0/24, mtu: 9000}}
containers: {web: {networks: {front: {address: auto, mtu: 8000}}}}
""")
    assert found.topology.subnets["front"].mtu is None
    assert found.topology.containers["web"].attachments[0].mtu is None
    assert len([note for note in found.notes if "MTU" in note]) == 2


def test_members_and_shared_networks() -> None:
    """A container that labels select stands for one member; one that shares a network has no namespace of its own."""
    found = of(
        """
hosts: {here: {connect: local}}
subnets: {front: {cidr: 10.44.0.0/24}}
containers:
  web: {existing: {compose: shop/web}, networks: {front: auto}}
  main: {image: nginx, networks: {front: auto}}
  side: {image: nginx, share: main}
policies: [{allow: outside, to: web}]
""".replace("policies: [{allow: outside, to: web}]\n", "")
    )
    assert list(found.topology.containers) == ["main", "web"]
    assert found.topology.patterns == {}
    assert any(note.startswith("side: no namespace of its own") for note in found.notes)
    assert "containers of docker are plain namespaces; where ports are probed, netctl listens" in found.notes
