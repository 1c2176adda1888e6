"""What would let our traffic pass through another firewall is told with the names of the bridges."""

from __future__ import annotations

from reconciler.state.host import Obstacle


def test_help_names_every_bridge() -> None:
    """A command for a bridge is there once for each, in order; one for the whole host once."""
    ufw = Obstacle("drop", "ufw", "ip filter FORWARD", "ufw route allow in on BRIDGE; ufw route allow out on BRIDGE")
    assert ufw.help_for(("b-b", "b-a")) == (
        "ufw route allow in on b-a; ufw route allow in on b-b; ufw route allow out on b-a; ufw route allow out on b-b"
    )
    firewalld = Obstacle("drop", "firewalld", "", "firewall-cmd --add-interface=BRIDGE; firewall-cmd --reload")
    assert firewalld.help_for(["b-a"]) == "firewall-cmd --add-interface=b-a; firewall-cmd --reload"
    assert Obstacle("drop", "iptables", "", "iptables -I FORWARD").help_for(["b-a"]) == "iptables -I FORWARD"
