"""A direct bridge of Open vSwitch (in user space): what `test_direct` claims of a Linux bridge, and what is different here."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.packets.frames import Node, bad_frames, good_frames
from tests.harness.worlds.lan import look, pings, serve_dhcp, watch_ping, watch_session, write
from tests.harness.worlds.openvswitch import SPEAKER, START, SWITCH
from tests.system.direct.test_dhcp import lease_of

pytestmark = pytest.mark.kernel

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/openvswitch-direct.yaml"
SWITCHED = EXAMPLE.read_text().replace("name: switched-lan", "name: here")
LINUX = SWITCHED.replace(", bridge: openvswitch", "")
MEGABYTE = 1 << 20
GUARDED = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct, bridge: openvswitch}}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  phone: {networks: {lan: dhcp}}
"""


@pytest.fixture
def switched(host: Machine) -> Machine:
    """The host has an Open vSwitch with nothing in it."""
    require_capability("openvswitch")
    host.sh(START)
    return host


def transfer(machine: Machine, server: str, client: str, address: str, port: int) -> int:
    """How many bytes of a megabyte arrive by TCP."""
    running = machine.start_command(sys.executable, str(SPEAKER), "serve", str(port), netns=server)
    machine.run(sys.executable, str(SPEAKER), "send", address, str(port), netns=client)
    return int(running.wait(30).out)


def test_the_host_keeps_its_place_and_gets_it_back(switched: Machine) -> None:
    """No node waits a second while the uplink moves, a session over it lives on, and destroy leaves everything as it was."""
    before = look(switched)
    path = write(switched, SWITCHED)
    watches = [
        watch_ping(switched, "192.0.2.1"),
        watch_ping(switched, "2001:db8::11", "other"),
        watch_session(switched, 7000),
        watch_session(switched, 7001, "2001:db8::11"),
    ]
    applied = switched.netctl("apply", path)
    assert applied.status == 0, applied.err
    routes = switched.run("ip", "route").out
    assert "default via 192.0.2.1 dev b-here-lan proto dhcp src 192.0.2.11 metric 100" in routes
    assert "dev eth0" not in routes
    assert transfer(switched, "", "other", "192.0.2.11", 7100) == MEGABYTE
    assert transfer(switched, "other", "", "192.0.2.30", 7101) == MEGABYTE
    assert transfer(switched, "here.web", "other", "2001:db8::50", 7102) == MEGABYTE
    assert transfer(switched, "other", "here.web", "192.0.2.30", 7103) == MEGABYTE
    assert transfer(switched, "here.web", "", "192.0.2.50", 7104) == MEGABYTE
    assert pings(switched, "203.0.113.10", "here.app")
    assert pings(switched, "192.0.2.30", "here.db"), "a NATed container reaches the LAN"
    verified = switched.netctl("verify", path)
    assert verified.status == 0, verified.out
    assert switched.netctl("diff", path).status == 0
    destroyed = switched.netctl("destroy", path)
    assert destroyed.status == 0, destroyed.err
    assert pings(switched, "192.0.2.1")
    silences = [watch.longest_silence_s() for watch in watches]
    assert max(silences) < 1, silences
    assert look(switched) == before
    assert switched.sh("find /run/netctl 2>/dev/null || true; ovs-vsctl list-br") == ""


def test_linux_to_openvswitch_and_back(switched: Machine) -> None:
    """One plan each way, and the host's session lives on through both."""
    before = look(switched)
    assert switched.netctl("apply", write(switched, LINUX)).status == 0
    watch = watch_session(switched, 7000)
    for text in (SWITCHED, LINUX):
        path = write(switched, text)
        changed = switched.netctl("apply", path)
        assert changed.status == 0, changed.err
        assert switched.netctl("diff", path).status == 0
        assert pings(switched, "192.0.2.50", "other")
        assert pings(switched, "2001:db8::30", "here.web")
    assert switched.sh("ovs-vsctl list-br") == ""
    assert watch.longest_silence_s() < 1
    assert switched.netctl("destroy", path).status == 0
    assert look(switched) == before


def test_what_a_container_may_send_onto_the_lan(switched: Machine) -> None:
    """As itself, and with an address that the LAN gives; no DHCP server, no router, no other node."""
    for name in ("dnsmasq", "udhcpc"):
        require_capability(name)
    serve_dhcp(switched, router6=True)
    path = write(switched, GUARDED)
    applied = switched.netctl("apply", path)
    assert applied.status == 0, applied.err
    lease = lease_of(switched, "phone")
    assert lease.startswith("192.0.2.1")
    assert pings(switched, lease, "other")
    assert pings(switched, "203.0.113.10", "here.phone")
    switched.run("ip", "-n", "here.phone", "address", "add", "192.0.2.11/32", "dev", "lo")
    stolen = ("ping", "-c", "1", "-W", "1", "-I", "192.0.2.11", "192.0.2.30")
    assert switched.run(*stolen, check=False, netns="here.phone").status != 0
    assert switched.netctl("diff", path).status == 0
    # A switch hands frames on as they are, padding and all.
    switched.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 || true", netns="switch")
    own = Node(mac_of(switched, "here.web"), "192.0.2.50", "2001:db8::50")
    other = Node(mac_of(switched, "other"), "192.0.2.30", "2001:db8::30")
    good, bad = good_frames(own, other, in_lan=True), bad_frames(own, other)
    frames = {name: frame.hex() for name, frame in {**good, **bad, "honest": good["arp request"]}.items()}
    judged = switched.run(sys.executable, str(SPEAKER), "judge", "here.web", "other", text=json.dumps(frames)).out
    assert set(json.loads(judged)) == set(good)


def mac_of(machine: Machine, netns: str) -> str:
    """The hardware address of its eth0."""
    return machine.run("ip", "-n", netns, "-br", "link", "show", "dev", "eth0").out.split()[2]


def test_a_router_that_is_lost_brings_the_uplink_back(switched: Machine) -> None:
    """A switch that shuts the port to a host that has become a bridge: nothing stays of it."""
    before = look(switched)
    switched.sh(
        """
        nft add table bridge guard; nft add chain bridge guard c '{ type filter hook prerouting priority 0; }'
        nft add rule bridge guard c iifname host ether type arp limit rate over 1/hour burst 1 packets drop
        """,
        netns="switch",
    )
    failed = switched.netctl("apply", write(switched, SWITCHED))
    assert failed.status == 4, failed.err
    assert "the router 192.0.2.1 answered on eth0, and does not on b-here-lan" in failed.err
    assert look(switched) == before
    assert switched.sh("ovs-vsctl list-br") == ""


@pytest.mark.invariant(4)
def test_killed_in_the_middle_of_a_move(switched: Machine) -> None:
    """SIGKILL when the uplink has joined, when the addresses are on their way, and in a destroy: the next command gets there."""
    before = look(switched)
    path = write(switched, GUARDED.replace("  phone: {networks: {lan: dhcp}}\n", ""))
    moments = {
        "apply": ("ovs-vsctl iface-to-br eth0", "ip -o address show dev b-here-lan | grep -q 192.0.2.11"),
        "destroy": ("! ip -o address show dev b-here-lan | grep -q 192.0.2.11", "! ovs-vsctl iface-to-br eth0"),
    }
    for verb, conditions in moments.items():
        for condition in conditions:
            if verb == "destroy":
                assert switched.netctl("apply", path).status == 0
            running = switched.start_netctl(verb, path)
            switched.sh(f"until {condition} 2>/dev/null >&2; do :; done")
            running.kill(signal.SIGKILL)
            running.wait()
            switched.netctl("destroy", path)
            assert look(switched) == before, f"{verb} until {condition}"
    assert switched.netctl("apply", path).status == 0
    assert pings(switched, "192.0.2.50", "other")


def test_a_datapath_that_was_restarted(switched: Machine) -> None:
    """With ovs-vswitchd go the rules: the host is on the LAN again by itself, and apply puts its containers behind them again."""
    path = write(switched, SWITCHED)
    assert switched.netctl("apply", path).status == 0
    watch = watch_session(switched, 7000)
    switched.sh("kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid); while pgrep -x ovs-vswitchd >/dev/null; do sleep 0.02; done")
    switched.sh(SWITCH)
    assert pings(switched, "192.0.2.11", "other")
    assert switched.netctl("diff", path).status == 1
    applied = switched.netctl("apply", path)
    assert applied.status == 0, applied.err
    assert pings(switched, "192.0.2.50", "other")
    assert switched.netctl("diff", path).status == 0
    assert watch.longest_silence_s() < 10


def test_the_bridges_of_others_stay_theirs(switched: Machine) -> None:
    """An uplink that is in one already is refused, and so is one as `existing`; both with what to write."""
    switched.sh("ovs-vsctl add-br br-ex -- set bridge br-ex datapath_type=netdev -- add-port br-ex eth0")
    refused = switched.netctl("apply", write(switched, SWITCHED))
    assert refused.status == 3
    assert "the uplink eth0 of host here belongs to br-ex already" in refused.err
    existing = LINUX.replace("mode: direct", "mode: direct, bridge: {existing: br-ex}")
    refused = switched.netctl("apply", write(switched, existing))
    assert refused.status == 3
    assert "br-ex of host here is a bridge of Open vSwitch" in refused.err


def test_drift_of_the_uplink(switched: Machine) -> None:
    """Its port, its rule, its marks, addresses that turn up on it: the next apply repairs it all."""
    path = write(switched, SWITCHED)
    assert switched.netctl("apply", path).status == 0
    for what in (
        "ovs-vsctl del-port eth0",
        "ovs-ofctl --strict del-flows b-here-lan 'table=0,priority=10,in_port=65000'",
        "ovs-vsctl clear port eth0 external_ids -- set bridge b-here-lan fail_mode=secure; ip address add 192.0.2.99/24 dev eth0",
    ):
        switched.sh(what)
        assert switched.netctl("diff", path).status == 1, what
        applied = switched.netctl("apply", path)
        assert applied.status == 0, f"{what}: {applied.err}"
        assert pings(switched, "192.0.2.11", "other", count=2), what
        assert switched.netctl("diff", path).status == 0, what
    assert "192.0.2.99/24" in switched.run("ip", "address", "show", "dev", "b-here-lan").out
