"""A container that asks its LAN for an address may use none of another host of the file."""

from __future__ import annotations

import json

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.packets.build import ARP, BROADCAST, IP4, arp_request, ethernet, udp
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, broadcast_frame, received, vxlan_packet
from tests.system.attacks.test_containers import hearing, mac_of, send, watching

pytestmark = pytest.mark.kernel

ALPHA, BETA = "192.0.2.11", "192.0.2.12"
TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.186.0.0/24}
  lan: {cidr: 192.0.2.0/24, mode: direct, hosts: [alpha]}
containers:
  bob: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}}
  eve: {host: alpha, networks: {lan: dhcp}}
"""


@pytest.fixture(scope="module")
def leased(world: LabWorld) -> LabWorld:
    require_capability("udhcpc")
    world.apply(TEXT)
    return world


def test_it_sends_nothing_into_a_vxlan(leased: LabWorld) -> None:
    """A host takes what comes from the other one's address, and by the link that leads there: the LAN's bridge."""
    alpha = leased.inside("lab.alpha")
    (link,) = json.loads(alpha.run("ip", "-j", "-d", "link", "show", "type", "vxlan").stdout)
    (route,) = json.loads(alpha.run("ip", "-j", "route", "get", BETA).stdout)
    data = link["linkinfo"]["info_data"]
    text = vxlan_packet(data["id"], broadcast_frame("02:00:00:00:00:99", "10.186.0.77", b"forged"))
    packet = udp(BETA, ALPHA, 5000, data["port"], text)
    with hearing(leased, "bob", 7777) as server:
        send(leased, "eve", ethernet(mac_of(leased, "eve"), mac_of(leased, "lab.alpha", route["dev"]), IP4, packet))
        assert not received(server, b"forged", QUIET_S)


@pytest.mark.parametrize("address", [ALPHA, BETA])
def test_it_claims_no_hosts_address(leased: LabWorld, address: str) -> None:
    """Nor by ARP, which would bring the other host's traffic to it."""
    own = mac_of(leased, "eve")
    with watching(leased, "lab.beta") as wire:
        for sender, arrives in ((address, False), ("192.0.2.200", True)):
            claim = arp_request(own, sender, "192.0.2.1")
            send(leased, "eve", ethernet(own, BROADCAST, ARP, claim))
            assert received(wire, claim, PATIENCE_S if arrives else QUIET_S) == arrives
