"""A physical LAN, simulated in a machine of the test's own: a switch, a router, a DHCP server, another machine, and the host.

The machine's own namespace is the host; its uplink `eth0` is a cable to the switch. Watchers run beside netctl and report
how long no answer came.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from reconciler.kernel.namespaces import enter
from reconciler.kernel.netlink.ethtool import switch_offload
from tests.harness.machine import Machine, Running

LAN = """
    for each in switch router other; do
        ip netns add $each; ip -n $each link set lo up
        ip netns exec $each sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0
    done
    echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
    ip -n switch link add lan type bridge forward_delay 0 mcast_snooping 0
    ip -n switch link set lan up
    for each in router other; do
        ip -n $each link add eth0 type veth peer name $each netns switch
        ip -n switch link set $each master lan up
        ip -n $each link set eth0 up
    done
    ip link add eth0 address 02:aa:00:00:00:11 type veth peer name host netns switch
    ip -n switch link set host master lan up
    ip -n router address add 192.0.2.1/24 dev eth0; ip -n router address add 2001:db8::1/64 dev eth0
    ip -n router link add world type dummy 2>/dev/null || ip -n router link add world type bridge
    ip -n router address add 203.0.113.10/24 dev world; ip -n router link set world up
    ip netns exec router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip -n other address add 192.0.2.30/24 dev eth0; ip -n other address add 2001:db8::30/64 dev eth0
    ip -n other route add default via 192.0.2.1
    ip link set eth0 up
    ip address add 192.0.2.11/24 dev eth0 valid_lft 86400 preferred_lft 43200
    ip address add 192.0.2.12/24 dev eth0 label eth0:1
    ip address add 198.51.100.5/32 dev eth0 noprefixroute
    ip address add 2001:db8::11/64 dev eth0 nodad
    ip address add 2001:db8::12/64 dev eth0 valid_lft 80000 preferred_lft 40000
    ip route add default via 192.0.2.1 proto dhcp metric 100 src 192.0.2.11
    ip route add 10.9.0.0/16 via 192.0.2.1 mtu 1400
    ip route add 10.10.0.0/16 via 192.0.2.1 table 77
    ip -6 route add default via 2001:db8::1 proto ra metric 1024 expires 1800
    ip -6 route add 2001:db8:5::/48 via fe80::1 dev eth0
    ip neighbor add 192.0.2.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent
    until ip -6 route show table local | grep -q "local fe80::.*eth0"; do sleep 0.01; done
"""
DHCP_SERVER = """
    ip netns add dhcp; ip -n dhcp link set lo up
    ip netns exec dhcp sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0
    ip -n dhcp link add eth0 type veth peer name dhcp netns switch; ip -n switch link set dhcp master lan up
    ip -n dhcp link set eth0 up; ip -n dhcp address add 192.0.2.2/24 dev eth0; ip -n dhcp address add 2001:db8::2/64 dev eth0
    ip netns exec dhcp dnsmasq --conf-file=/dev/null --port=0 --interface=eth0 --bind-interfaces --pid-file=/run/dnsmasq.pid \\
        --dhcp-range=192.0.2.100,192.0.2.150,2m --no-ping --dhcp-option=3,192.0.2.1 --dhcp-leasefile=/run/dnsmasq.leases \\
        --user=root --log-dhcp --log-facility=/run/dnsmasq.log"""
ROUTER6 = " --enable-ra --dhcp-range=2001:db8::,ra-only,64"
LINKS = "-d link show dev eth0"
"""What `ip` shows of the host's place in the network."""
VIEWS = (LINKS, "-d address show dev eth0", "-4 route show table all", "-6 route show table all", "neighbor show nud permanent")
PASSING = ("valid_life_time", "preferred_life_time", "expires", "num_tx_queues", "num_rx_queues")
"""What changes by itself."""
TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct}
  front: {cidr: 10.44.0.0/24}
containers:
  web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}
  app: {networks: {lan: 192.0.2.51}}
  db: {networks: {front: 10.44.0.10}, ports: ["8080:80"]}
"""


def build_lan(machine: Machine) -> None:
    """Make it; the host has addresses with lifetimes, labels and flags, and routes of several kinds.

    What arrives by its cable has complete checksums, as by any cable that is not virtual.
    """
    machine.sh(LAN)
    assert machine.start(complete_checksums, "switch").wait().status == 0


def complete_checksums() -> int:
    """The host's port of the switch leaves none of them to the receiver."""
    switch_offload("host", "tx", on=False)
    return 0


def serve_dhcp(machine: Machine, *, router6: bool = False) -> None:
    """A DHCP server joins the LAN, 192.0.2.2, which offers .100 to .150; with `router6` it is a router for IPv6 too."""
    machine.sh(DHCP_SERVER + (ROUTER6 if router6 else ""))


def look(machine: Machine) -> dict[str, str]:
    """The host's uplink, addresses, routes and neighbors, as `ip` shows them, in its order; what passes by itself left out."""
    return {view: _without_passing(machine.run("ip", "-j", *view.split()).out) for view in VIEWS}


def _without_passing(text: str) -> str:
    kept = [{key: value for key, value in _deep(item).items() if key not in PASSING} for item in json.loads(text or "[]")]
    # Routes come in an order of their own in the local table, which follows the order of making.
    return json.dumps(sorted(kept, key=json.dumps) if "dst" in text[:40] else kept, indent=1)


def _deep(item: dict[str, object]) -> dict[str, object]:
    inner = item.get("addr_info")
    if isinstance(inner, list):
        return {**item, "addr_info": [{key: value for key, value in each.items() if key not in PASSING} for each in inner]}
    return item


@dataclass(slots=True)
class Watch:
    """A watcher that asks every 50 ms, and notes when an answer comes."""

    running: Running

    def longest_silence_s(self) -> float:
        """End it: the longest time without an answer, the last of all included."""
        time.sleep(0.5)  # a quick command may have seen few answers
        ended_s = time.time()
        self.running.kill(signal.SIGINT)
        outcome = self.running.wait(10)
        stamps = [float(stamp) for stamp in re.findall(r"^\[(\d+\.\d+)\] ", outcome.out, re.MULTILINE)]
        assert len(stamps) > 5, outcome.out + outcome.err
        return max(later - earlier for earlier, later in pairwise([*stamps, max(ended_s, stamps[-1])]))


def watch_ping(machine: Machine, target: str, netns: str = "") -> Watch:
    """Ping `target` from the host or from one of the machine's namespaces."""
    words = ["ping", "-D", "-n", "-i", "0.05", "-W", "1", target]

    def body() -> int:
        if netns:
            enter(f"/run/netns/{netns}")
        os.execvp(words[0], words)

    return Watch(machine.start(body))


def watch_session(machine: Machine, port: int, peer: str = "192.0.2.11", netns: str = "other") -> Watch:
    """One TCP connection from another machine to the host that says something every 50 ms, as a shell over ssh does."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        while data := connection.recv(64):
            connection.sendall(data)

    def body() -> int:
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        listener = socket.create_server((peer, port), family=family)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        enter(f"/run/netns/{netns}")
        with socket.create_connection((peer, port), timeout=20) as client:
            try:
                while True:
                    client.sendall(b"x")
                    assert client.recv(64) == b"x"
                    print(f"[{time.time():.6f}] ", flush=True)
                    time.sleep(0.05)
            except KeyboardInterrupt:  # it has been watched for long enough
                return 0

    watch = Watch(machine.start(body))
    deadline = time.monotonic() + 10
    while os.fstat(watch.running.out.fileno()).st_size == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    return watch


def pings(machine: Machine, target: str, netns: str = "", count: int = 1) -> bool:
    """Whether `target` answers within 2 s.

    The entry of a neighbor that did not answer an earlier question is flushed, so the kernel asks again. The old entry would fail
    after three requests in all, and so might a question in its last second (neigh_max_probes in net/core/neighbour.c).
    """
    machine.run("ip", "neighbor", "flush", "to", target, "nud", "incomplete", "nud", "failed", check=False, netns=netns)
    return machine.run("ping", "-c", str(count), "-W", "2", target, check=False, netns=netns).status == 0


def write(machine: Machine, text: str = TOPOLOGY) -> Path:
    """The topology as a file."""
    path = machine.folder / "topology.yaml"
    path.write_text(text)
    return path
