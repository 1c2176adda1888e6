"""Changes of an Open vSwitch bridge in place: the plan names what they delete, and one apply restores it."""

from __future__ import annotations

import pytest

from tests.harness.worlds.openvswitch import SwitchWorld

pytestmark = pytest.mark.kernel

BRIDGE = "b-here-front"
MANAGEMENT = f"unix:/run/openvswitch/{BRIDGE}.mgmt"


def test_flows_of_a_bridge_that_is_secure_again(world: SwitchWorld) -> None:
    """ovs-vswitchd deletes all flows of a bridge whose fail_mode changes."""
    flows = world.sh(f"ovs-ofctl dump-flows --no-stats {MANAGEMENT}")
    world.sh(f"ovs-vsctl set-fail-mode {BRIDGE} standalone")
    world.machine.run("ovs-ofctl", "add-flows", MANAGEMENT, "-", text=flows)
    plan = world.netctl("diff", "--verbose", status=1).out
    assert plan.count(f"the kernel resets it when openvswitch {BRIDGE} changes") == len(flows.splitlines()) > 50
    world.apply()


def test_what_a_bridge_loses_with_its_hardware_address(world: SwitchWorld) -> None:
    """Its addresses, routes and neighbor entries."""
    entries = world.sh(f"ip neighbor show dev {BRIDGE} nud permanent").splitlines()
    world.sh(f'ovs-vsctl set bridge {BRIDGE} other_config:hwaddr="02:00:00:00:00:77"')
    world.sh(f"ip address replace fd44::1/64 dev {BRIDGE} nodad noprefixroute")
    for prefix in ("10.44.0.0/24", "fd44::/64"):
        world.sh(f"ip route replace {prefix} dev {BRIDGE} protocol 78")
    for address, _, mac, *_ in map(str.split, entries):
        world.sh(f"ip neighbor replace {address} lladdr {mac} dev {BRIDGE} nud permanent protocol 78")
    plan = world.netctl("diff", "--verbose", status=1).out
    for words in ("address fd44::1/64", "route 10.44.0.0/24", "route fd44::/64", *(f"neighbor {e.split()[0]} " for e in entries)):
        assert f"~ {words}" in plan
    world.apply()
