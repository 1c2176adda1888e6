"""What would let our traffic pass through another firewall is told with the names of the bridges."""

from __future__ import annotations

from reconciler.state.foreign import Chain, ForwardDrop

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
