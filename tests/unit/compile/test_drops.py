"""What would let our traffic pass through another firewall is reported with the names of the bridges."""

from __future__ import annotations

import pytest

from reconciler.compile import compile_topology
from reconciler.compile.foreign_firewalls import find_drops
from reconciler.kinds.bridges import bridge_names
from reconciler.state.foreign import Chain, ForwardDrop
from reconciler.state.host import HostFacts, LinkFacts
from tests.harness.topologies.full import load

CHAIN = Chain(family="ip", table="filter", name="FORWARD")


def test_help_names_every_bridge() -> None:
    """A command for a bridge is there once for each, in order; one for the whole host once."""
    commands = ("ufw route allow in on BRIDGE", "ufw route allow out on BRIDGE")
    ufw = ForwardDrop(program="ufw", chain=CHAIN, commands=commands)
    assert ufw.help_for(("b-b", "b-a")) == (
        "ufw route allow in on b-a; ufw route allow in on b-b; ufw route allow out on b-a; ufw route allow out on b-b"
    )
    commands = ("firewall-cmd --add-interface=BRIDGE", "firewall-cmd --reload")
    firewalld = ForwardDrop(program="firewalld", chain=CHAIN, commands=commands)
    assert firewalld.help_for(["b-a"]) == "firewall-cmd --add-interface=b-a; firewall-cmd --reload"
    assert (
        ForwardDrop(program="iptables", chain=CHAIN, commands=("iptables -I FORWARD",)).help_for(["b-a"]) == "iptables -I FORWARD"
    )


@pytest.mark.parametrize(
    ("subnet", "name"),
    [
        ("cidr: 10.44.0.0/24, bridge: linux", "b-shop-front"),
        ("cidr: 10.44.0.0/24, bridge: openvswitch", "b-shop-front"),
        ("cidr: 192.0.2.0/24, mode: direct", "b-shop-front"),
        ("cidr: 192.0.2.0/24, mode: direct, bridge: openvswitch", "b-shop-front"),
        ("cidr: 192.0.2.0/24, mode: direct, bridge: {existing: br0}", "br0"),
        ("cidr: 192.0.2.0/24, mode: macvlan", ""),
    ],
)
def test_drops_count_with_every_kind_of_bridge(subnet: str, name: str) -> None:
    """A host hears of other firewalls, whatever bridge its containers are at. A macvlan is at none, and no firewall sees it."""
    address = "192.0.2.50" if "mode" in subnet else "auto"
    topology = load(f"""
version: 1
name: shop
hosts: {{one: {{connect: local}}}}
subnets: {{front: {{{subnet}}}}}
containers: {{web: {{networks: {{front: {address}}}}}}}
""")
    drop = ForwardDrop(program="iptables", chain=CHAIN, commands=("iptables -I FORWARD -i BRIDGE -j ACCEPT",))
    links = (LinkFacts("eth0", "", "02:00:00:00:00:01", 1500), LinkFacts("br0", "bridge", "02:00:00:00:00:02", 1500))
    facts = HostFacts(exists=True, uplink="eth0", foreign=(drop,), links=links)
    state = compile_topology(topology, {"one": facts}).hosts["one"]
    assert bridge_names(state) == ((name,) if name else ())
    assert find_drops(topology, state, facts) == ((drop,) if name else ())
    assert find_drops(topology, None, facts) == ()
