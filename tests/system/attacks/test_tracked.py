"""What a container gains from connections that its host tracks on a bridge, and from ones that are closed again."""

from __future__ import annotations

import time
from ipaddress import ip_address

import pytest

from tests.harness.packets.build import IP4, IP6, ethernet, udp
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received
from tests.system.attacks.test_containers import FAMILIES, OUTSIDE, bridge_of, mac_of, send, watching

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  let: {cidr: [10.188.0.0/24, "fd00:188::/64"], mode: isolated}
containers:
  web: {networks: {front: auto}}
  app: {networks: {front: auto}}
  greedy: {networks: {front: auto}}
  db: {networks: {let: auto}}
  cache: {networks: {let: auto}}
policies:
  - {allow: db, to: outside, ports: [443/udp]}
"""
OPENED, AT_ONCE, PER_SECOND = 1200, 500, 50
A_MOMENT_S = 1
"""What is left to an entry that the kernel forgets at once. It stays in /proc until its place is needed."""


@FAMILIES
@pytest.mark.parametrize(("one", "two", "subnet"), [("web", "app", "front"), ("db", "cache", "let")])
def test_a_connection_of_the_bridge_does_not_leave(spread: LabWorld, family: int, one: str, two: str, subnet: str) -> None:
    """A connection that began between two ports has no masquerading, and what follows on it does not leave by the uplink.

    The host tracks it where br_netfilter shows it what a bridge forwards, as Docker has it.
    """
    alpha = spread.inside("lab.alpha")
    alpha.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1")
    source, goal, kind = spread.addresses(one)[family], OUTSIDE[family], IP6 if family else IP4
    own, router = mac_of(spread, one), mac_of(spread, "lab.alpha", bridge_of(spread, subnet))

    def leaves(port: int) -> bool:
        with watching(spread, "lab.router", "s-192.0.2.0") as wire:
            send(spread, one, ethernet(own, router, kind, udp(source, goal, port, 443, b"to the outside")))
            return received(wire, b"to the outside", QUIET_S)

    with watching(spread, two) as there:
        send(spread, one, ethernet(own, mac_of(spread, two), kind, udp(source, goal, 1000, 443, b"bridged")))
        assert received(there, b"bridged", PATIENCE_S)
    assert not leaves(1000)
    assert leaves(1001), "an honest connection is masqueraded"


@FAMILIES
def test_closed_connections_do_not_fill_the_table(spread: LabWorld, family: int) -> None:
    """A share counts no closed connection, so the host forgets those of a container that opens many within a second."""
    own, began = spread.addresses("greedy")[family], time.monotonic()
    with spread.serving("lab.outside", 443):
        for _ in range(OPENED):
            assert spread.ask("greedy", OUTSIDE[family], 443)
    allowed = AT_ONCE + PER_SECOND * (time.monotonic() - began)
    shown = spread.inside("lab.alpha").run("cat", "/proc/net/nf_conntrack").stdout.splitlines()
    closed = [line.split() for line in shown if "TIME_WAIT" in line and f" src={ip_address(own).exploded} " in line]
    lasting = sum(int(words[4]) > A_MOMENT_S for words in closed)
    assert 0 < lasting <= allowed
