"""The settings of an uplink and of the bridge that replaces it, if an apply that would part them fails."""

from __future__ import annotations

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.topologies.local import write
from tests.harness.worlds.openvswitch import OUTSIDE, START

pytestmark = pytest.mark.kernel

ROLLED_BACK = 4
HEAD = "version: 1\nname: shop\nhosts: {h: {connect: local, address: 192.0.2.11}}\n"
FRONT = 'front: {cidr: [10.44.0.0/24, "fd44::/64"]}'
APART = (
    HEAD
    + f"subnets: {{{FRONT}}}\ncontainers:\n  c: {{networks: {{front: auto}}}}\n  d: {{networks: {{}}, command: {UNSTARTABLE}}}\n"
)


def settings(machine: Machine) -> str:
    """All settings of the uplink and of the bridge."""
    return machine.sh("cd /proc/sys/net; grep -s . ipv[46]/conf/eth0/* ipv[46]/conf/b-shop-lan/* || true")


@pytest.mark.parametrize("bridge", ["linux", "openvswitch"])
@pytest.mark.parametrize("other", ["", f", {FRONT}"], ids=["alone", "with IPv6"])
def test_settings_of_an_uplink_come_back(machine: Machine, bridge: str, other: str) -> None:
    """The uplink leaves its bridge and returns in a rollback: both have their settings again, and `destroy` leaves none."""
    if bridge == "openvswitch":
        require_capability("openvswitch")
        machine.sh(START)
    machine.sh(OUTSIDE)
    first = settings(machine)
    lan = f"lan: {{cidr: 192.0.2.0/24, mode: direct, bridge: {bridge}}}"
    networks = "lan: 192.0.2.50" + (", front: auto" if other else "")
    file = write(machine, HEAD + f"subnets: {{{lan}{other}}}\ncontainers: {{c: {{networks: {{{networks}}}}}}}\n")
    assert quick_netctl(machine, "apply", file)[0].status == 0
    accepted = "2" if other else "1"
    assert machine.sh("sysctl -n net.ipv6.conf.b-shop-lan.accept_ra").strip() == accepted
    before = settings(machine)
    done = quick_netctl(machine, "apply", write(machine, APART, "apart.yaml"))[0]
    assert done.status == ROLLED_BACK, done.err
    assert settings(machine) == before
    assert quick_netctl(machine, "diff", file)[0].status == 0
    assert quick_netctl(machine, "destroy", "-y", file)[0].status == 0
    assert settings(machine) == first
