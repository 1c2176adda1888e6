"""What would let our traffic pass through another firewall is told with the names of the bridges."""

from __future__ import annotations

import pytest

from reconciler.compile import compile_topology
from reconciler.compile.others import find_drops
from reconciler.kinds.bridges import bridge_names
from reconciler.state.host import HostFacts, Obstacle
from tests.compile.topologies import load


def test_help_names_every_bridge() -> None:
    """A command for a bridge is there once for each, in order; one for the whole host once."""
    ufw = Obstacle("drop", "ufw", "ip filter FORWARD", "ufw route allow in on BRIDGE; ufw route allow out on BRIDGE")
    assert ufw.help_for(("b-b", "b-a")) == (
        "ufw route allow in on b-a; ufw route allow in on b-b; ufw route allow out on b-a; ufw route allow out on b-b"
    )
    firewalld = Obstacle("drop", "firewalld", "", "firewall-cmd --add-interface=BRIDGE; firewall-cmd --reload")
    assert firewalld.help_for(["b-a"]) == "firewall-cmd --add-interface=b-a; firewall-cmd --reload"
    assert Obstacle("drop", "iptables", "", "iptables -I FORWARD").help_for(["b-a"]) == "iptables -I FORWARD"


@pytest.mark.parametrize("bridge", ["linux", "openvswitch"])
def test_drops_count_with_either_kind_of_bridge(bridge: str) -> None:
    """A host whose subnets are all on Open vSwitch hears of other firewalls as one with Linux bridges does."""
    topology = load(f"""
version: 1
name: shop
hosts: {{one: {{connect: local}}}}
subnets: {{front: {{cidr: 10.44.0.0/24, bridge: {bridge}}}}}
containers: {{web: {{networks: {{front: auto}}}}}}
""")
    drop = Obstacle("drop", "the policy of iptables", "ip filter FORWARD", "iptables -I FORWARD -i BRIDGE -j ACCEPT")
    facts = HostFacts(exists=True, uplink="eth0", obstacles=(drop,))
    state = compile_topology(topology, {"one": facts}).hosts["one"]
    assert find_drops(topology, state, facts) == (drop,)
    assert bridge_names(state) == ("b-shop-front",)
    assert find_drops(topology, None, facts) == ()
