"""A direct bridge on the real kernel: the host keeps its place in the LAN while its uplink moves, and gets all of it back."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.worlds.lan import TOPOLOGY, look, pings, watch_ping, watch_session, write

pytestmark = pytest.mark.kernel

IPTABLES = ("iptables", "ip6tables")


def test_the_host_keeps_its_place_and_gets_it_back(host: Machine) -> None:
    """No node waits a second while the uplink moves, a session over it lives on, and destroy leaves everything as it was."""
    before = look(host)
    path = write(host)
    watches = [
        watch_ping(host, "192.0.2.1"),
        watch_ping(host, "192.0.2.11", "other"),
        watch_ping(host, "2001:db8::11", "other"),
        watch_session(host, 7000),
        watch_session(host, 7001, "2001:db8::11"),
    ]
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    held = json.loads(host.run("ip", "-j", "address", "show", "dev", "b-here-lan").out)[0]
    assert held["address"] == "02:aa:00:00:00:11"
    addresses = {one["local"]: one for one in held["addr_info"]}
    assert set(addresses) >= {"192.0.2.11", "192.0.2.12", "198.51.100.5", "2001:db8::11", "2001:db8::12"}
    assert 80000 < addresses["192.0.2.11"]["valid_life_time"] <= 86400
    assert addresses["192.0.2.12"]["label"] == "b-here-lan:1"
    assert addresses["198.51.100.5"]["noprefixroute"]
    routes = host.run("ip", "route").out + host.run("ip", "-6", "route").out + host.run("ip", "route", "show", "table", "77").out
    assert "default via 192.0.2.1 dev b-here-lan proto dhcp src 192.0.2.11 metric 100" in routes
    assert "10.9.0.0/16 via 192.0.2.1 dev b-here-lan mtu 1400" in routes
    assert "10.10.0.0/16 via 192.0.2.1 dev b-here-lan" in routes
    assert "default via 2001:db8::1 dev b-here-lan proto ra metric 1024 expires" in routes
    assert "dev eth0" not in routes
    for target in ("192.0.2.50", "2001:db8::50", "192.0.2.51"):
        assert pings(host, target), "the host reaches its containers"
        assert pings(host, target, "other"), "the LAN reaches them"
    for target in ("192.0.2.1", "192.0.2.11", "192.0.2.30", "192.0.2.51", "2001:db8::30", "203.0.113.10"):
        assert pings(host, target, "here.web"), f"a container reaches {target}"
    assert pings(host, "192.0.2.30", "here.db"), "a NATed container reaches the LAN"
    asked = host.netctl("verify", path)
    assert asked.status == 0, asked.out
    assert host.netctl("diff", path).status == 0
    destroyed = host.netctl("destroy", path)
    assert destroyed.status == 0, destroyed.err
    silences = [watch.longest_silence_s() for watch in watches]
    assert max(silences) < 1, silences
    assert look(host) == before
    assert host.sh("find /run/netctl 2>/dev/null || true") == ""


def test_a_host_that_forwards_still_follows_its_router(host: Machine) -> None:
    """With IPv6 in a NATed subnet the host forwards, and its own default route must not expire: the bridge goes on listening."""
    before = look(host)
    path = write(host, TOPOLOGY.replace("front: {cidr: 10.44.0.0/24}", 'front: {cidr: [10.44.0.0/24, "fd44::/64"]}'))
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    assert host.sh("cd /proc/sys/net/ipv6/conf; cat all/forwarding b-here-lan/accept_ra").split() == ["1", "2"]
    assert host.netctl("diff", path).status == 0
    assert host.netctl("destroy", path).status == 0
    assert host.sh("cat /proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "1"
    assert look(host) == before


def test_a_change_touches_no_other_node(host: Machine) -> None:
    """One more container on the LAN, and one less: a session between another and the LAN lives on; so does the host's."""
    path = write(host)
    assert host.netctl("apply", path).status == 0
    watches = [watch_ping(host, "192.0.2.50", "other"), watch_session(host, 7000)]
    more = TOPOLOGY + "  more: {networks: {lan: 192.0.2.52}}\n"
    applied = host.netctl("apply", write(host, more))
    assert applied.status == 0, applied.err
    assert "uplink" not in applied.out
    assert pings(host, "192.0.2.52", "other")
    assert host.netctl("apply", write(host)).status == 0
    assert max(watch.longest_silence_s() for watch in watches) < 0.5


@pytest.mark.parametrize("compat", [1, 0])
@pytest.mark.parametrize("number", [7, 8])
def test_a_route_by_a_nexthop_object_is_refused(host: Machine, number: int, compat: int) -> None:
    """It could not come back as it was, so neither the way there nor the way back begins: nothing is touched.

    The error names the route and the command that makes a plain one of it. It does so for a group, too, and if routes do not say
    their link.
    """
    host.sh(f"echo {compat} > /proc/sys/net/ipv4/nexthop_compat_mode")
    add = "ip nexthop add id 7 via 192.0.2.1 dev {0}; ip nexthop add id 8 group 7; ip route add 10.11.0.0/16 nhid " + str(number)
    remove = "ip route delete 10.11.0.0/16; ip nexthop delete id 8; ip nexthop delete id 7"
    host.sh(add.format("eth0"))
    before, path = look(host), write(host)
    for command in ("diff", "apply"):
        refused = host.netctl(command, path)
        assert (refused.status, f"10.11.0.0/16 (id {number})" in refused.err) == (3, True), refused.err
    assert look(host) == before
    assert host.sh("ip -o link show type bridge; ls /run/netns") == "other\nrouter\nswitch\n"
    advice = next(line for line in refused.err.splitlines() if line.startswith("help:")).rpartition("again: ")[2]
    host.sh(advice.replace("ROUTER", "192.0.2.1"))
    host.sh("ip nexthop delete id 8; ip nexthop delete id 7")
    assert host.netctl("apply", path).status == 0
    host.sh("ip route delete 10.11.0.0/16; " + add.format("b-here-lan"))
    assert host.netctl("status", path).status == 0
    refused = host.netctl("destroy", path)
    assert (refused.status, f"(id {number})" in refused.err) == (3, True), refused.err
    host.sh(remove)
    assert host.netctl("destroy", path).status == 0


def test_a_failed_apply_gives_the_uplink_back(host: Machine) -> None:
    """A command that cannot be started fails after the uplink has moved: all of it is as before."""
    before = look(host)
    path = write(host, TOPOLOGY + f"  bad: {{networks: {{lan: 192.0.2.53}}, command: {UNSTARTABLE}}}\n")
    watch = watch_session(host, 7000)
    failed = host.netctl("apply", path)
    assert failed.status == 4, failed.err
    assert "every host is as it was before" in failed.err
    assert watch.longest_silence_s() < 1
    assert look(host) == before


def test_a_router_that_is_lost_brings_the_uplink_back(host: Machine) -> None:
    """A switch that lets one ARP request through and no other: the router is heard before the move and never after it."""
    before = look(host)
    host.sh(
        """
        nft add table bridge guard; nft add chain bridge guard c '{ type filter hook prerouting priority 0; }'
        nft add rule bridge guard c iifname host ether type arp limit rate over 1/hour burst 1 packets drop
        """,
        netns="switch",
    )
    watch = watch_session(host, 7000, "2001:db8::11")
    failed = host.netctl("apply", write(host))
    assert failed.status == 4, failed.err
    assert "the router 192.0.2.1 answered on eth0, and does not on b-here-lan" in failed.err
    assert watch.longest_silence_s() < 1
    assert look(host) == before


def test_a_terminal_that_goes_away_does_not_stop_it(host: Machine) -> None:
    """The terminal is shut in the middle of an apply, as when the user's ssh session ends: the apply goes on to its end.

    All its processes get SIGHUP, and whatever they write is refused (EIO).
    """
    path = write(host)
    words = [sys.executable, "-m", "reconciler", "apply", str(path)]

    def sit() -> int:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(words[0], words, {**os.environ, "TERM": "xterm"})
        bridge = ["ip", "link", "show", "b-here-lan"]
        while subprocess.run(bridge, capture_output=True, check=False).returncode:
            assert os.waitpid(pid, os.WNOHANG)[0] == 0, "it ended before the bridge was there"
        os.close(terminal)
        os.waitpid(pid, 0)
        return 0

    assert host.start(sit).wait().status == 0
    assert host.netctl("diff", path).status == 0


def test_drift_is_moved_too(host: Machine) -> None:
    """An address that a DHCP client of the host puts on the uplink itself keeps the host reachable, and apply moves it."""
    path = write(host)
    assert host.netctl("apply", path).status == 0
    host.sh("ip address add 192.0.2.99/24 dev eth0 valid_lft 1000 preferred_lft 1000")
    assert pings(host, "192.0.2.99", "other")
    assert pings(host, "192.0.2.11", "other")
    assert "eth0" in host.netctl("diff", path).out
    assert host.netctl("apply", path).status == 0
    assert "192.0.2.99/24" in host.run("ip", "address", "show", "dev", "b-here-lan").out
    assert pings(host, "192.0.2.99", "other")
    assert host.netctl("destroy", path).status == 0
    assert "192.0.2.99/24" in host.run("ip", "address", "show", "dev", "eth0").out


def test_a_bridge_that_vanished_is_recreated_with_what_was_on_it(host: Machine) -> None:
    """An administrator deletes the bridge, and with it all of the host's addresses: apply restores them from the file."""
    before = look(host)
    path = write(host)
    assert host.netctl("apply", path).status == 0
    host.run("ip", "link", "delete", "b-here-lan")
    assert not pings(host, "192.0.2.11", "other")
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    assert pings(host, "192.0.2.11", "other", count=3)
    asked = host.netctl("verify", path)
    assert asked.status == 0, asked.out
    assert host.netctl("destroy", path).status == 0
    assert look(host) == before


def test_other_firewalls_let_the_lan_pass(host: Machine) -> None:
    """Docker's policies drop what is forwarded, and bridges ask them too with br_netfilter: our mark opens the LAN's bridge.

    Without the rule that knows the mark nothing passes, and the next apply restores it. A drop that has no place for such a
    rule is reported, with the command that opens it.
    """
    host.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
    host.sh(" ".join(f"{each} -P FORWARD DROP; {each} -N DOCKER-USER; {each} -A FORWARD -j DOCKER-USER;" for each in IPTABLES))
    path = write(host)
    assert host.netctl("apply", path).status == 0
    reached = (("192.0.2.50", "other"), ("2001:db8::50", "other"), ("192.0.2.30", "here.web"), ("2001:db8::30", "here.web"))
    assert all(pings(host, *each) for each in reached)
    asked = host.netctl("verify", path)
    assert asked.status == 0, asked.out
    host.sh("; ".join(f"{each} -F DOCKER-USER" for each in IPTABLES))
    assert not any(pings(host, *each) for each in reached[:2])
    assert host.netctl("status", path).status == 1
    assert host.netctl("apply", path).status == 0
    assert all(pings(host, *each) for each in reached)
    assert host.netctl("destroy", path).status == 0
    host.sh("; ".join(f"{each} -F; {each} -X DOCKER-USER" for each in IPTABLES))
    told = host.netctl("apply", path).err
    assert "the policy of ip6tables drops unknown packets" in told
    assert not pings(host, "192.0.2.50", "other")
    host.sh("\n".join(line.removeprefix("help: ") for line in told.splitlines() if line.startswith("help: ")))
    assert all(pings(host, *each) for each in reached)
