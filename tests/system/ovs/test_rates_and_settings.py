"""What is set on a container's interface holds on Open vSwitch, whatever comes to the switch later."""

from __future__ import annotations

import pytest

from tests.harness.worlds.openvswitch import SwitchWorld

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: 10.44.0.0/24, bridge: KIND}
containers:
  web: {networks: {front: {address: auto, OPTION}}}
  app: {networks: {front: auto}}
"""


def test_settings_stay_when_the_bridge_becomes_another(cleared: SwitchWorld) -> None:
    """A subnet that changes from a Linux bridge to Open vSwitch's, and back, keeps what the file sets on interfaces."""
    settings = TOPOLOGY.replace("OPTION", "sysctls: {net.ipv4.conf.IFNAME.log_martians: 1}")
    for kind in ("linux", "openvswitch", "linux"):
        cleared.write(settings.replace("KIND", kind))
        cleared.apply()
        assert cleared.machine.sh("cat /proc/sys/net/ipv4/conf/eth0/log_martians", "here.web") == "1\n"
        assert cleared.netctl("diff").status == 0


def test_an_mtu_without_ipv6(cleared: SwitchWorld) -> None:
    """A subnet whose MTU is too small for IPv6 is applied: its ports have no settings of IPv6."""
    for mtu in (1200, 1400, 1200):
        cleared.write(TOPOLOGY.replace("OPTION", "").replace("KIND", f"openvswitch, mtu: {mtu}"))
        cleared.apply()


def test_a_rate_holds(cleared: SwitchWorld) -> None:
    """A rate limit at both ends of a container's cable is there after the apply, and after another container came."""
    rates = TOPOLOGY.replace("OPTION", "rate: 10mbit").replace("KIND", "openvswitch")
    for more in ("", "  late: {networks: {front: auto}}\n"):
        cleared.write(rates + more)
        cleared.apply()
        assert cleared.netctl("diff").status == 0
        assert "rate 10Mbit" in cleared.machine.sh("tc qdisc show dev eth0", "here.web")
        assert "rate 10Mbit" in cleared.machine.sh("tc qdisc show")
    cleared.machine.sh("ip link add more0 type veth peer name more1; ovs-vsctl add-port br-other more0")
    assert cleared.netctl("diff").status == 0
    cleared.machine.sh("ovs-vsctl del-port br-other more0; ip link delete more0")
    cleared.netctl("destroy")
    assert cleared.machine.sh("ovs-vsctl list qos") == ""
