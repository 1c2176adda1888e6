"""Into a VXLAN past the underlay's filter: by anycast addresses, and as a user of a host, who may send UDP to any port."""

from __future__ import annotations

import json

import pytest

from reconciler.compile.addresses import link_local_of
from tests.harness.packets.build import IP4, IP6, ethernet, udp
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, broadcast_frame, received, vxlan_packet
from tests.system.attacks.test_containers import bridge_of, hearing, mac_of, send

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: "ALPHA"}
  beta: {connect: lab, address: "BETA"}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  other: {cidr: [10.187.0.0/24, "fd00:187::/64"], overlay: none, hosts: [alpha]}
containers:
  bob: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}, ports: [{listen: 8080, to: 80, on: [alpha]}]}
  mallory: {host: alpha, networks: {other: auto}}
"""
HOSTS = {4: ("192.0.2.11", "192.0.2.12"), 6: ("2001:db8::11", "2001:db8::12")}
ANYCAST = ("2001:db8::", "fd00:187::", "fd00:186::")
"""The subnet-router anycast address of a prefix (RFC 4291, 2.6.1): each router has it."""
USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "/usr/bin/python3", "-c")


@pytest.fixture(scope="module", params=HOSTS, ids=["IPv4", "IPv6"])
def hosts(world: LabWorld, request: pytest.FixtureRequest) -> tuple[str, str]:
    """The addresses of the two hosts on an underlay of that family, with the topology applied."""
    alpha, beta = HOSTS[request.param]
    world.apply(TEXT.replace("ALPHA", alpha).replace("BETA", beta))
    return alpha, beta


def forge(world: LabWorld) -> tuple[bytes, int]:
    """A datagram that brings a broadcast to all of `front`, and the port of alpha's VXLAN."""
    (link,) = json.loads(world.inside("lab.alpha").run("ip", "-j", "-d", "link", "show", "type", "vxlan").stdout)
    data = link["linkinfo"]["info_data"]
    return vxlan_packet(data["id"], broadcast_frame("02:00:00:00:00:99", "10.186.0.77", b"forged")), data["port"]


def group_of(address: str) -> str:
    """The solicited-node group of an IPv6 address (RFC 4291, 2.7.1); one of IPv4 is in all hosts' group."""
    return f"ff02::1:ff00:{address.rpartition(':')[2]}" if ":" in address else "224.0.0.1"


def run_as_user(world: LabWorld, code: str) -> str:
    """What Python prints that runs on alpha as a user without rights; a packet that the host drops is an error there."""
    return world.inside("lab.alpha").run(*USER, f"from socket import *; {code}", check=False).stdout


def send_as_user(world: LabWorld, text: bytes, target: str, port: int) -> None:
    family = "AF_INET6" if ":" in target else "AF_INET"
    run_as_user(world, f"socket({family}, SOCK_DGRAM).sendto(bytes.fromhex('{text.hex()}'), ('{target}', {port}))")


def test_a_container_reaches_no_vxlan(world: LabWorld, hosts: tuple[str, str]) -> None:
    """A container sends to the VXLAN's port of all addresses that its host has, and of the other host."""
    text, port = forge(world)
    own, router = mac_of(world, "mallory"), mac_of(world, "lab.alpha", bridge_of(world, "other"))
    with hearing(world, "bob", 7777) as here, hearing(world, "far", 7777) as there:
        links = [link_local_of(router), link_local_of(mac_of(world, "lab.alpha")), "ff02::1", group_of(hosts[0])]
        for target in (*hosts, *ANYCAST, *links, "10.187.0.1", "10.187.0.255", "192.0.2.255", "255.255.255.255", "224.0.0.1"):
            family = int(":" in target)
            for source in (world.addresses("mallory")[family], *((link_local_of(own),) if family else ())):
                packet = udp(source, target, 5000, port, text)
                send(world, "mallory", ethernet(own, router, IP6 if family else IP4, packet))
        assert not received(here, b"forged", QUIET_S)
        assert not received(there, b"forged", 0.01)


def test_a_neighbour_reaches_no_vxlan(world: LabWorld, hosts: tuple[str, str]) -> None:
    """A node of the hosts' segment sends to all addresses of a host by which it could be meant."""
    text, port = forge(world)
    to, own = mac_of(world, "lab.alpha"), "02:00:00:00:00:98"
    shown = json.loads(world.inside("lab.router").run("ip", "-j", "link", "show", "type", "bridge").stdout)
    segment = next(str(link["ifname"]) for link in shown if link["ifname"].startswith("s-"))
    targets = [hosts[0], *ANYCAST, link_local_of(to), group_of(hosts[0])]
    targets += ["ff02::1", "192.0.2.255", "255.255.255.255", "224.0.0.1"]
    with hearing(world, "bob", 7777) as here:
        for target in targets:
            for source in ("2001:db8::99", link_local_of(own)) if ":" in target else ("192.0.2.99", "0.0.0.0"):
                packet = udp(source, target, 5000, port, text)
                send(world, "lab.router", ethernet(own, to, IP6 if ":" in target else IP4, packet), dev=segment)
        assert not received(here, b"forged", QUIET_S)


def test_a_user_of_a_host_reaches_no_vxlan(world: LabWorld, hosts: tuple[str, str]) -> None:
    """The VXLAN's socket takes what comes by `lo`, and the other host takes all that comes from this one."""
    text, port = forge(world)
    with hearing(world, "bob", 7777) as here, hearing(world, "far", 7777) as there:
        for target in (*hosts, *(("::1", *ANYCAST) if ":" in hosts[0] else ("127.0.0.1", "127.1.2.3", "10.187.0.1"))):
            send_as_user(world, text, target, port)
        assert not received(here, b"forged", QUIET_S)
        assert not received(there, b"forged", 0.01)


def test_a_users_own_packets_go_by_the_vxlan(world: LabWorld, hosts: tuple[str, str]) -> None:
    """To a container on another host, and to its port that is published here."""
    targets = [(address, 80) for address in world.addresses("far")] + [(hosts[0], 8080)]
    with world.serving("far", 80):
        for target in targets:
            code = f"s = create_connection({target!r}, {PATIENCE_S}); print(s.recv(100).decode())"
            assert run_as_user(world, code).startswith("far "), target
    for address in world.addresses("far"):
        with hearing(world, "far", 7000) as server:
            send_as_user(world, b"hello", address, 7000)
            assert received(server, b"hello", PATIENCE_S)
