"""A LAN that drops frames from hardware addresses it does not know, as an access point or a switch with port security does."""

from __future__ import annotations

import pytest

from tests.harness.machine import Machine
from tests.harness.worlds.lan import pings, write

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: 192.0.2.0/24, mode: direct}}
containers: {web: {networks: {lan: 192.0.2.50}}}
"""
ROUTED = TOPOLOGY.replace("192.0.2.0/24, mode: direct", "10.44.0.0/24, mode: routed").replace("192.0.2.50", "10.44.0.10")


@pytest.fixture
def guarded(host: Machine) -> Machine:
    """The switch takes frames on the host's port from the host's own hardware address only."""
    host.sh(
        """
        nft add table bridge ap; nft add chain bridge ap c '{ type filter hook prerouting priority 0; }'
        nft add rule bridge ap c iifname host ether saddr != 02:aa:00:00:00:11 drop
        """,
        netns="switch",
    )
    return host


@pytest.mark.parametrize("mode", ["direct", "macvlan"])
def test_verify_reports_that_foreign_hardware_addresses_are_dropped(guarded: Machine, mode: str) -> None:
    """The host stays on the LAN, its containers are not, and verify says whom to ask."""
    path = write(guarded, TOPOLOGY.replace("direct", mode))
    assert guarded.netctl("apply", path).status == 0
    assert pings(guarded, "192.0.2.11", "other")
    assert pings(guarded, "192.0.2.50")
    assert not pings(guarded, "192.0.2.50", "other")
    verified = guarded.netctl("verify", path)
    assert verified.status == 6
    assert "an access point or a switch drops unknown hardware addresses" in verified.out
    assert "masquerade" not in verified.out


def test_routed_with_proxy_arp_passes(guarded: Machine) -> None:
    """What the refusal of a wireless uplink recommends: a route on the LAN's router, or a host that answers ARP for the range."""
    path = write(guarded, ROUTED)
    assert guarded.netctl("apply", path).status == 0
    for netns, route in (("router", "via 192.0.2.11"), ("other", "dev eth0")):
        guarded.sh(f"ip -n {netns} route add 10.44.0.0/24 {route}")
    assert pings(guarded, "10.44.0.10", "router")
    assert not pings(guarded, "10.44.0.10", "other"), "nobody answers for it"
    guarded.sh("sysctl -qw net.ipv4.conf.eth0.proxy_arp=1; ip -n other neighbor flush dev eth0")
    assert pings(guarded, "10.44.0.10", "other")
    assert pings(guarded, "192.0.2.30", "here.web")
    assert guarded.netctl("verify", path).status == 0
    assert guarded.netctl("diff", path).status == 0
