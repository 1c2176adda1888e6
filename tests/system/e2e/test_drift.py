"""Whatever an administrator breaks, status and diff report, apply repairs, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.state.naming import interface_name
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live, read_pids
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = pytest.mark.kernel

PORT = interface_name("v-", "here", "web", "front")
MAC = "$(ip -n here.web -br link show dev eth0 | awk '{print $3}')"
EVERYTHING_ON_A_PORT = {"veth", "fdb", "address", "route", "neighbor", "sysctl", "stray-link", "element", "stray-route"}
DAMAGES: dict[str, tuple[str, set[str]]] = {
    "a table deleted, and one flushed": (
        "nft delete table inet netctl-here; nft flush table bridge netctl-here",
        {"firewall", "element"},
    ),
    "an element removed": ("nft flush set inet netctl-here bridges", {"element"}),
    "a foreign rule in our table": ("nft insert rule inet netctl-here forward accept", {"firewall", "element"}),
    "a foreign element": ("nft add element bridge netctl-here ports '{ \"eth0\" : goto port }'", {"element"}),
    "a port down": (f"ip link set {PORT} down", {"veth"}),
    "a container's link down": ("ip -n here.web link set eth0 down", {"veth", "address", "route", "neighbor"}),
    "a bridge down": ("ip link set b-here-back down", {"bridge", "route", "neighbor", "address"}),
    "a loopback down": ("ip -n here.web link set lo down", {"netns"}),
    "an address deleted": ("ip -n here.web address delete 10.44.0.10/24 dev eth0", {"address", "route", "neighbor"}),
    "an address more": ("ip -n here.web address add 10.44.0.99/24 dev eth0 noprefixroute", {"address"}),
    "an IPv6 address deleted": ("ip -n here.web address delete fd44::10/64 dev eth0", {"address", "route", "neighbor"}),
    "a gateway's address deleted": ("ip address delete 10.45.0.1/24 dev b-here-back", {"address", "route", "neighbor"}),
    "routes flushed": ("ip -n here.web route flush table main; ip -n here.web -6 route flush table main", {"route"}),
    "a route elsewhere": ("ip -n here.web route replace default dev eth0 proto 78", {"route"}),
    "an MTU": ("ip -n here.web link set eth0 mtu 1300", {"veth"}),
    "a bridge's MTU": ("ip link set b-here-front mtu 1300", {"bridge"}),
    "an MTU without IPv6": ("ip -n here.web link set eth0 mtu 1000", {"veth", "address", "route", "neighbor", "sysctl"}),
    "a bridge under STP": ("ip link set b-here-front type bridge stp_state 1", {"bridge"}),
    "an alias": ("ip link set b-here-front alias mine", {"bridge"}),
    "an alias removed": ("ip link set b-here-front alias ''", {"bridge"}),
    "another bridge's alias": ("ip link set b-here-front alias netctl:here/bridge/back", {"bridge"}),
    "another container's alias": (f"ip link set {PORT} alias netctl:here/veth/db/back", EVERYTHING_ON_A_PORT),
    "a hardware address": ("ip -n here.web link set eth0 address 02:00:00:00:00:99", {"veth", "neighbor", "route", "address"}),
    "a neighbor deleted": ("ip -n here.web neighbor delete 10.44.0.1 dev eth0", {"neighbor"}),
    "a neighbor elsewhere": (
        "ip neighbor replace 10.44.0.10 lladdr 02:00:00:00:00:99 dev b-here-front nud permanent",
        {"neighbor"},
    ),
    "a setting": ("sysctl -qw net.ipv4.ip_forward=0", {"sysctl"}),
    "a setting of a bridge": ("sysctl -qw net.ipv4.conf.b-here-front.rp_filter=1", {"sysctl"}),
    "a bridge that does not forward": ("sysctl -qw net.ipv4.conf.b-here-front.forwarding=0", {"sysctl"}),
    "an uplink that does not forward": ("sysctl -qw net.ipv4.conf.eth0.forwarding=0", {"sysctl"}),
    "a bridge that is not a router": ("sysctl -qw net.ipv6.conf.b-here-front.forwarding=0", {"sysctl"}),
    "a bridge without IPv6": (
        "sysctl -qw net.ipv6.conf.b-here-front.disable_ipv6=1",
        {"sysctl", "address", "route", "neighbor", "bridge"},
    ),
    "a container that heeds routers": ("ip netns exec here.web sysctl -qw net.ipv6.conf.eth0.accept_ra=1", {"sysctl"}),
    "a port that is locked": (f"bridge link set dev {PORT} locked on", {"veth"}),
    "a port that is disabled": (f"bridge link set dev {PORT} state 0", {"veth"}),
    "a port that answers for others": (f"bridge link set dev {PORT} neigh_suppress on", {"veth"}),
    "a port without broadcast": (f"bridge link set dev {PORT} bcast_flood off mcast_flood off", {"veth"}),
    "a port's group": (f"ip link set {PORT} group 0", {"veth"}),
    "a queue in a container": ("tc -n here.web qdisc add dev eth0 root pfifo limit 1", {"stray-queue"}),
    "a queue at a port": (f"tc qdisc add dev {PORT} root pfifo limit 1", {"stray-queue"}),
    "a container without ARP": ("ip -n here.web link set eth0 arp off", {"veth", "neighbor"}),
    "a bridge without ARP": ("ip link set b-here-front arp off", {"bridge", "neighbor"}),
    "a port's flag": (f"bridge link set dev {PORT} hairpin off", {"veth"}),
    "a port whose groups pass the filter by": (f"ip link set dev {PORT} type bridge_slave group_fwd_mask 0", {"veth"}),
    "a port that learns": (f"bridge link set dev {PORT} learning on flood on", {"veth"}),
    "a forwarding entry deleted": (f"bridge fdb delete {MAC} dev {PORT} master", {"fdb"}),
    "a forwarding entry that is not sticky": (f"bridge fdb replace {MAC} dev {PORT} master static", {"fdb"}),
    "a forwarding entry more": (f"bridge fdb add 02:00:00:00:00:98 dev {PORT} master static", {"fdb"}),
    "a port without bridge": (f"ip link set {PORT} nomaster", {"veth", "fdb"}),
    "a veth deleted": ("ip -n here.web link delete eth0", {"veth", "fdb", "address", "route", "neighbor", "sysctl"}),
    "a bridge deleted": ("ip link delete b-here-front", {"bridge", "veth", "fdb", "address", "route", "neighbor", "sysctl"}),
    "a namespace deleted": ("ip netns delete here.web", {"netns", "veth", "fdb", "address", "route", "neighbor", "sysctl"}),
    "a command ended": ("pkill -9 -x sleep", {"process"}),
}
"""What is done, and the kinds of things that the repair may touch."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """LOCAL, applied; each damage is repaired, so that one machine serves for all."""
    from tests.harness.topologies.local import furnish

    machine = Machine.make(tmp_path_factory.mktemp("drift"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        assert quick_netctl(machine, "apply", write(machine, LOCAL))[0].status == 0
        yield machine
    finally:
        machine.end()


@pytest.mark.parametrize("damage", DAMAGES)
def test_drift_is_reported_and_repaired(live: Machine, damage: str) -> None:
    """Diff and status are 1; the plan speaks of the damage only; apply repairs it, and then everything is as it was."""
    script, kinds = DAMAGES[damage]
    file: Path = live.folder / "topology.yaml"
    before, pids = read_live(live), read_pids(live, "sleep infinity")
    live.run("sh", "-euc", script)
    if damage != "a command ended":
        assert differences(before, read_live(live)) != "" or "link" in damage
    assert quick_netctl(live, "status", file)[0].status == 1
    told, _ = quick_netctl(live, "diff", "--json", file)
    assert told.status == 1
    touched = {change["ref"]["kind"] for host in json.loads(told.out)["hosts"] for change in host["changes"]}
    assert touched <= kinds
    done, _ = quick_netctl(live, "apply", file)
    assert done.status == 0, done.err
    assert differences(before, read_live(live)) == ""
    if "process" not in kinds:
        assert read_pids(live, "sleep infinity") == pids
