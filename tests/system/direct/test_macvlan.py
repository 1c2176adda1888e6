"""Macvlans on the real kernel: who reaches whom in each mode, what the host keeps, and what repair and removal leave."""

from __future__ import annotations

import pytest

from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.worlds.lan import look, pings, watch_ping, watch_session, write

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: macvlan, type: MODE}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  app: {networks: {lan: [192.0.2.51, "2001:db8::51"]}}
"""
ALL = ("192.0.2.50", "192.0.2.51", "2001:db8::50", "2001:db8::51")


def topology(mode: str) -> str:
    return TOPOLOGY.replace("MODE", mode)


def test_bridge(host: Machine) -> None:
    """The LAN, the host and the containers all reach each other; the host keeps its uplink, its sessions and its one MAC."""
    before = look(host)
    path = write(host, topology("bridge"))
    watches = [watch_ping(host, "192.0.2.1"), watch_session(host, 7000)]
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    for target in ALL:
        assert pings(host, target), f"the host reaches {target}"
        assert pings(host, target, "other"), f"the LAN reaches {target}"
        assert pings(host, target, "here.web"), f"a container reaches {target}"
    for target in ("192.0.2.1", "192.0.2.11", "192.0.2.30", "2001:db8::11", "2001:db8::30", "203.0.113.10"):
        assert pings(host, target, "here.web"), f"a container reaches {target}"
    host.sh("ip -n other neighbor flush dev eth0")
    assert pings(host, "192.0.2.11", "other")
    assert "02:aa:00:00:00:11" in host.run("ip", "-n", "other", "neighbor", "show", "192.0.2.11").out
    assert host.netctl("verify", path).status == 0
    assert host.netctl("diff", path).status == 0
    host.sh("ip -n here.web link set eth0 mtu 1400; ip -n here.app link delete eth0; ip link delete m-here-lan")
    assert host.netctl("status", path).status == 1
    assert host.netctl("apply", path).status == 0
    assert host.netctl("verify", path).status == 0
    assert host.netctl("destroy", path).status == 0
    assert look(host) == before
    assert max(watch.longest_silence_s() for watch in watches) < 1
    assert host.sh("ip -o link show type macvlan; find /run/netctl 2>/dev/null || true") == ""


def test_private_and_vepa_and_passthru(host: Machine) -> None:
    """A change of mode makes the interfaces again.

    Private ones reach the LAN and not each other. With VEPA a switch without hairpin keeps them apart, and one with it joins
    them. Passthru is for one alone, and for an uplink that the host does not need.
    """
    path = write(host, topology("private"))
    assert host.netctl("apply", path).status == 0
    assert pings(host, "192.0.2.50", "other")
    assert not pings(host, "192.0.2.51", "here.web")
    assert host.netctl("verify", path).status == 0
    assert host.netctl("apply", write(host, topology("vepa"))).status == 0
    assert pings(host, "192.0.2.50", "other")
    assert not pings(host, "192.0.2.51", "here.web")
    host.run("ip", "-n", "switch", "link", "set", "host", "type", "bridge_slave", "hairpin", "on")
    assert pings(host, "192.0.2.51", "here.web")
    assert host.netctl("verify", path).status == 0
    alone = topology("passthru").replace("  app:", "  #")
    refused = host.netctl("apply", write(host, alone))
    assert refused.status == 3
    assert "the host has 192.0.2.11/24 on it" in refused.err
    host.sh(
        """
        ip link add eth1 address 02:aa:00:00:00:22 type veth peer name second netns switch; ip link set eth1 up
        ip -n switch link set second master lan up
        """
    )
    alone = alone.replace("type:", "uplink: eth1, type:")
    done = host.netctl("apply", write(host, alone))
    assert done.status == 0, done.err
    assert pings(host, "192.0.2.50", "other")
    assert host.netctl("apply", write(host, topology("private").replace("type:", "uplink: eth1, type:"))).status == 0
    assert host.netctl("destroy", path).status == 0
    assert pings(host, "192.0.2.11", "other")


def test_from_macvlan_to_direct_and_back(host: Machine) -> None:
    """A subnet changes its mode in one plan, for an uplink carries macvlans or is a port, and the host stays reachable."""
    path = write(host, topology("bridge"))
    assert host.netctl("apply", path).status == 0
    watch = watch_session(host, 7000)
    for mode in ("direct", "macvlan", "direct"):
        text = topology("bridge").replace(", type: bridge", "").replace("mode: macvlan", f"mode: {mode}")
        applied = host.netctl("apply", write(host, text))
        assert applied.status == 0, applied.err
        assert pings(host, "192.0.2.50", "other")
        assert pings(host, "192.0.2.50")
        assert host.netctl("diff", path).status == 0
    assert watch.longest_silence_s() < 1
    assert host.netctl("destroy", path).status == 0


def test_a_foreign_link_of_the_hosts_name_is_refused(host: Machine) -> None:
    """A link that is not netctl's, where the host's own macvlan is to be: status 3 and its name, before anything is changed."""
    host.sh("ip link add name m-here-lan type bridge")
    before = look(host)
    refused = host.netctl("apply", write(host, topology("bridge")))
    assert refused.status == 3
    assert "m-here-lan" in refused.err
    assert look(host) == before


def test_the_hosts_end_comes_back_in_a_rollback(host: Machine) -> None:
    """A subnet that the next file drops is there again when its apply fails: its settings (arp_ignore), and those set by hand."""
    path = write(host, topology("bridge"))
    assert host.netctl("apply", path).status == 0
    host.sh("echo 1 > /proc/sys/net/ipv4/conf/m-here-lan/accept_local; echo 9 > /proc/sys/net/ipv6/conf/m-here-lan/hop_limit")
    read = "grep -s . /proc/sys/net/ipv[46]/conf/m-here-lan/* /proc/sys/net/ipv[46]/neigh/m-here-lan/* || true"
    settings, before = host.sh(read), look(host)
    assert "/ipv4/conf/m-here-lan/arp_ignore:8" in settings
    without = topology("bridge")[: topology("bridge").index("subnets:")].rstrip()
    bad = f"{without}\nsubnets: {{side: {{cidr: 10.46.0.0/24}}}}\ncontainers:\n"
    bad += f"  bad: {{networks: {{side: auto}}, command: {UNSTARTABLE}}}\n"
    done = host.netctl("apply", write(host, bad))
    assert (done.status, "as it was before" in done.err) == (4, True), done.err
    assert host.sh(read) == settings
    assert look(host) == before
    assert host.netctl("diff", write(host, topology("bridge"))).status == 0
    assert pings(host, "192.0.2.50", "other")
