"""A change in place that resets other things: the plan names them, one apply restores them, and so does a rollback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults.strike import Fault, quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import write
from tests.system.e2e.test_deleted_with import HEAD, ROLLED_BACK, UPLINK, settings_of

pytestmark = pytest.mark.kernel

LOCAL = HEAD.replace("HOST", "local")
DUAL = (
    LOCAL
    + """\
subnets: {a: {cidr: 10.44.0.0/24}, b: {cidr: [10.45.0.0/24, "fd45::/64"]}}
containers:
  c1: {networks: {a: auto, b: {address: auto, sysctls: {net.ipv6.conf.IFNAME.hop_limit: 7}}}}
  c3: {networks: {b: auto}}
"""
)
SMALL = (
    LOCAL
    + """\
subnets: {a: {cidr: 10.44.0.0/24}, b: {cidr: 10.45.0.0/24, mtu: 1000}}
containers:
  c1: {networks: {a: auto, b: auto}}
  c3: {networks: {b: auto}}
"""
)
SWITCHED_OFF = (
    LOCAL
    + """\
subnets: {a: {cidr: 10.44.0.0/24}, b: {cidr: [10.45.0.0/24, "fd45::/64"]}}
containers:
  c1: {networks: {a: {address: auto, sysctls: {net.ipv6.conf.IFNAME.disable_ipv6: 1}}}}
"""
)
WITH_IPV6 = SWITCHED_OFF.replace("disable_ipv6: 1}}}}", "disable_ipv6: 1}}, b: auto}}")


def converge(machine: Machine, file: Path) -> int:
    """Apply the file, and find no difference afterwards; the number of steps."""
    done, steps = quick_netctl(machine, "apply", file)
    assert done.status == 0, done.err
    again = quick_netctl(machine, "diff", file)[0]
    assert again.status == 0, again.out
    return steps


def tune(machine: Machine) -> None:
    """Settings of an administrator's, on a bridge and inside a container."""
    machine.sh("cd /proc/sys/net/ipv6; echo 9 > conf/b-shop-b/hop_limit; echo 3 > neigh/b-shop-b/app_solicit")
    machine.sh("cd /proc/sys/net/ipv6/conf/eth0; echo 9 > hop_limit; echo 5 > mldv1_unsolicited_report_interval", "shop.c3")


@pytest.mark.parametrize(("netns", "dev"), [("", "b-shop-b"), ("shop.c3", "eth0")])
def test_neighbors_of_a_link_that_gets_arp_back(machine: Machine, netns: str, dev: str) -> None:
    """The kernel deletes the neighbor entries of a link that begins to use ARP, the permanent ones as well."""
    machine.sh(UPLINK)
    file = write(machine, DUAL)
    converge(machine, file)
    entries = machine.sh(f"ip neighbor show dev {dev} nud permanent", netns).splitlines()
    assert len(entries) > 1
    machine.sh(f"ip link set {dev} arp off", netns)
    for address, _, mac, *_ in map(str.split, entries):
        machine.sh(f"ip neighbor replace {address} lladdr {mac} dev {dev} nud permanent protocol 78", netns)
    plan = quick_netctl(machine, "diff", "--verbose", file)[0].out
    assert all(f"neighbor {entry.split()[0]} is" in plan for entry in entries), plan
    converge(machine, file)


def test_entries_of_a_port_that_comes_back(machine: Machine) -> None:
    """The kernel deletes the forwarding entries of a port that leaves a bridge."""
    machine.sh(UPLINK)
    file = write(machine, DUAL)
    converge(machine, file)
    mac = machine.sh("ip -br link show dev eth0", "shop.c3").split()[2]
    machine.sh("ip link add other type bridge; ip link set other up; ip link set v-shop-c3-b master other")
    machine.sh(f"bridge fdb replace {mac} dev v-shop-c3-b master static sticky")
    plan = quick_netctl(machine, "diff", "--verbose", file)[0].out
    assert f"{mac} is behind v-shop-c3-b: the kernel resets it" in plan, plan
    converge(machine, file)


def test_a_link_too_small_for_ipv6(machine: Machine) -> None:
    """With an MTU below 1280 a link has no IPv6 and none of its settings: there and back, and rolled back at the last step."""
    machine.sh(UPLINK)
    file, small = write(machine, DUAL), write(machine, SMALL, "small.yaml")
    converge(machine, small)
    converge(machine, file)
    tune(machine)
    spaces = ("", "shop.c1", "shop.c3")
    before, settings = read_live(machine), [settings_of(machine, each) for each in spaces]
    steps = converge(machine, small)
    converge(machine, file)
    tune(machine)
    assert [settings_of(machine, each) for each in spaces] == settings
    done = quick_netctl(machine, "apply", small, fault=Fault("fail-late", steps))[0]
    assert done.status == ROLLED_BACK, done.err
    assert differences(before, read_live(machine)) == ""
    assert [settings_of(machine, each) for each in spaces] == settings
    assert quick_netctl(machine, "diff", file)[0].status == 0


def test_ipv6_off_on_one_link(machine: Machine) -> None:
    """The switch of a container's namespace writes that of every link; the value that the file gives one link stays."""
    machine.sh(UPLINK)
    without, with_ipv6 = write(machine, SWITCHED_OFF), write(machine, WITH_IPV6, "with.yaml")
    for file in (without, with_ipv6, without, with_ipv6):
        converge(machine, file)


def test_forwarding_of_other_links(machine: Machine) -> None:
    """To let a host forward is to write the setting of every link: `destroy` and a rollback restore each link's own."""
    machine.sh(UPLINK)
    machine.sh("ip link add eth9 type bridge; ip link set eth9 up")
    for link in ("ipv4/conf/eth9", "ipv6/conf/eth9", "ipv4/conf/eth0"):
        machine.sh(f"echo 1 > /proc/sys/net/{link}/forwarding")
    settings = settings_of(machine, "")
    file = write(machine, DUAL)
    steps = converge(machine, file)
    assert "ipv4/conf/all/forwarding:1" in settings_of(machine, "")
    assert quick_netctl(machine, "destroy", file)[0].status == 0
    assert settings_of(machine, "") == settings
    assert quick_netctl(machine, "apply", file, fault=Fault("fail-late", steps))[0].status == ROLLED_BACK
    assert settings_of(machine, "") == settings
