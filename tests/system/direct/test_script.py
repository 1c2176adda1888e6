"""The printed command lines of an uplink's move, run by hand with a shell."""

from __future__ import annotations

import pytest

from tests.harness.machine import Machine
from tests.harness.worlds.lan import look, pings, watch_session, write

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets:
  lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct}
  alone: {cidr: 10.44.0.0/24, mode: isolated}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  db: {networks: {alone: 10.44.0.10}}
"""
WITHOUT = TOPOLOGY.replace("  lan:", "  # ").replace("  web:", "  # ")


def run_script(machine: Machine) -> None:
    """`netctl diff --commands | sh`, after which nothing differs."""
    path = machine.folder / "topology.yaml"
    script = machine.netctl("diff", "--commands", path)
    assert script.status == 1, script.err
    machine.sh(script.out)
    after = machine.netctl("diff", path)
    assert after.status == 0, after.out


def test_the_script_moves_the_uplink_and_gives_it_back(host: Machine) -> None:
    """The bridge has what apply gives it: lifetimes, labels, flags, routes, neighbors. A session over the uplink lives on."""
    host.sh("sysctl -qw net.ipv4.ip_forward=1")  # what apply changes, it also remembers, which a script does not
    path = write(host, TOPOLOGY)
    before = look(host)
    assert host.netctl("apply", path).status == 0
    wanted = look_at_bridge(host)
    assert host.netctl("destroy", path).status == 0
    watch = watch_session(host, 7000)
    run_script(host)
    assert look_at_bridge(host) == wanted
    for target in ("192.0.2.50", "2001:db8::50"):
        assert pings(host, target, "other")
    write(host, WITHOUT)
    run_script(host)
    assert watch.longest_silence_s() < 1
    assert host.netctl("destroy", path).status == 0
    assert look(host) == before


@pytest.mark.parametrize("protocol", ["kernel", "static"])
def test_the_script_moves_the_routes_of_a_network_manager(host: Machine, protocol: str) -> None:
    """Addresses without prefix routes of the kernel's, which a network manager adds by itself: the default route moves, too."""
    host.sh(
        "ip -4 address flush dev eth0; ip address add 192.0.2.11/24 dev eth0 noprefixroute;"
        f"ip route add 192.0.2.0/24 dev eth0 proto {protocol} scope link src 192.0.2.11 metric 100;"
        "ip route add default via 192.0.2.1 dev eth0 proto dhcp metric 100"
    )
    path = write(host, TOPOLOGY)
    before = look(host)
    assert host.netctl("apply", path).status == 0
    wanted = look_at_bridge(host)
    assert host.netctl("destroy", path).status == 0
    run_script(host)
    assert look_at_bridge(host) == wanted
    assert pings(host, "192.0.2.30")
    assert host.netctl("destroy", path).status == 0
    assert look(host) == before


def look_at_bridge(machine: Machine) -> str:
    """The addresses, routes and neighbors of the bridge, without what passes by itself."""
    dev = "dev b-here-lan"
    addresses = machine.sh(f"ip -o address show {dev} | sed 's/ valid_lft.*//; s/^[0-9]*: //'")
    routes = machine.sh(f"(ip -4 route show {dev} table all; ip -6 route show {dev} table all) | sed 's/expires .*sec //' | sort")
    return addresses + routes + machine.sh(f"ip neighbor show nud permanent {dev}")
