"""What the long form of a container's network asks for: rate limits, MTU, routes, settings, hairpin, isolated ports."""

from __future__ import annotations

import json

import pytest

from tests.harness.machine import Machine
from tests.harness.worlds.lan import pings, write

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets:
  net: {cidr: 10.44.0.0/24}
containers:
  web:
    networks:
      net:
        address: 10.44.0.10
        interface: wan0
        mac: "02:00:00:00:00:10"
        mtu: 1400
        rate: {ingress: 100mbit, egress: 10mbit}
        isolated: true
        hairpin: true
        routes: [{to: 172.20.0.0/16, via: 10.44.0.12}]
        sysctls: {net.ipv4.conf.IFNAME.log_martians: 1}
  two: {networks: {net: {address: 10.44.0.11, isolated: true, rate: 5gbit}}}
  app: {networks: {net: 10.44.0.12}}
"""


def rates(machine: Machine, dev: str, netns: str = "") -> list[int]:
    """The limits at the root of a link, in bytes a second."""
    found = json.loads(machine.run("tc", "-j", "qdisc", "show", "dev", dev, netns=netns).out)
    return [one["options"]["rate"] for one in found if one["kind"] == "tbf"]


def test_options(host: Machine) -> None:
    """Each is set, is no difference the next time, is repaired where it drifted, is changed in place, and goes."""
    path = write(host, TOPOLOGY)
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    link = json.loads(host.run("ip", "-n", "here.web", "-j", "link", "show", "dev", "wan0").out)[0]
    assert (link["mtu"], link["address"]) == (1400, "02:00:00:00:00:10")
    assert rates(host, "v-here-web-net") == [12_500_000]
    assert rates(host, "wan0", "here.web") == [1_250_000]
    assert rates(host, "eth0", "here.two") == [625_000_000]
    assert "172.20.0.0/16 via 10.44.0.12 dev wan0" in host.run("ip", "-n", "here.web", "route").out
    assert host.sh("cat /proc/sys/net/ipv4/conf/wan0/log_martians", netns="here.web").strip() == "1"
    port = host.run("bridge", "-d", "link", "show", "dev", "v-here-web-net").out
    assert "isolated on" in port
    assert "hairpin on" in port
    assert not pings(host, "10.44.0.11", "here.web"), "two isolated ports"
    assert pings(host, "10.44.0.12", "here.web"), "an isolated port and another"
    assert pings(host, "10.44.0.1", "here.web"), "an isolated port and the host"
    assert host.netctl("diff", path).status == 0
    host.sh("tc qdisc delete dev v-here-web-net root; bridge link set dev v-here-web-net isolated off")
    host.sh("ip route delete 172.20.0.0/16; sysctl -qw net.ipv4.conf.wan0.log_martians=0", netns="here.web")
    assert host.netctl("status", path).status == 1
    assert host.netctl("apply", path).status == 0
    assert host.netctl("diff", path).status == 0
    index = link["ifindex"]
    changed = TOPOLOGY.replace("100mbit", "50mbit").replace("mtu: 1400", "mtu: 1300").replace("        isolated: true\n", "")
    changed = changed.replace("rate: 5gbit", "hairpin: false")
    assert host.netctl("apply", write(host, changed)).status == 0
    assert rates(host, "v-here-web-net") == [6_250_000]
    assert rates(host, "eth0", "here.two") == []
    assert pings(host, "10.44.0.11", "here.web")
    assert json.loads(host.run("ip", "-n", "here.web", "-j", "link", "show", "dev", "wan0").out)[0]["ifindex"] == index
    assert host.netctl("destroy", path).status == 0


def test_an_existing_bridge_is_used_as_it_is(host: Machine) -> None:
    """The host's own br0, with its uplink in it, gets ports and nothing else, and keeps all when they go."""
    host.sh(
        """
        ip link add br0 address 02:aa:00:00:00:11 type bridge; ip link set br0 up; ip link set eth0 master br0
        ip address flush dev eth0; ip address add 192.0.2.11/24 dev br0; ip route add default via 192.0.2.1
        """
    )
    before = host.sh("ip -d link show br0; ip address show br0; ip route")
    subnet = "  lan: {cidr: 192.0.2.0/24, mode: direct, BRIDGE}\n"
    text = TOPOLOGY[: TOPOLOGY.index("  net:")] + subnet + "containers:\n  web: {networks: {lan: 192.0.2.50}}\n"
    refused = host.netctl("apply", write(host, text.replace(", BRIDGE", ", uplink: eth0")))
    assert refused.status == 3
    assert "the uplink eth0 of host one belongs to br0 already" in refused.err
    assert "bridge: {existing: br0}" in refused.err
    path = write(host, text.replace("BRIDGE", "bridge: {existing: br0}"))
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    assert pings(host, "192.0.2.50", "other")
    assert pings(host, "203.0.113.10", "here.web")
    assert host.netctl("verify", path).status == 0
    assert host.netctl("diff", path).status == 0
    assert host.netctl("destroy", path).status == 0
    after = host.sh("ip -d link show br0; ip address show br0; ip route")
    assert [line for line in after.splitlines() if "timer" not in line] == [
        line for line in before.splitlines() if "timer" not in line
    ]
