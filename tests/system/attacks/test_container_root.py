"""What a container's root does in its own network namespace: `apply` repairs it or lets it be, and never fails by it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

import pytest

from reconciler.state.naming import group_of
from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome
from tests.harness.topologies.local import LAB, write
from tests.harness.worlds.attacked import TOPOLOGY

pytestmark = pytest.mark.kernel

GROUP = group_of("here")
EGRESS = "tc qdisc delete dev eth0 root;"

SOURCES = """
    ip link add name low type bridge; ip link add link low name mv type macvlan mode source
    seq COUNT | awk '{ printf "link set link dev mv type macvlan macaddr add 02:00:00:00:%02x:%02x\\n", $1 / 256, $1 % 256 }' \\
        > /run/list
    ip -batch /run/list 2>/dev/null; rm /run/list
"""
"""A link that is longer than a datagram in the kernel's answer, or than the kernel's own buffer."""
LINKS: dict[str, str] = {
    "a macvlan with 6,000 sources": SOURCES.replace("COUNT", "6000"),
    "a macvlan with 13,000 sources": SOURCES.replace("COUNT", "13000"),
    "eth0 renamed, a macvlan with 6,000 sources in its place": (
        f"{SOURCES.replace('COUNT', '6000')}\nip link set eth0 name mine; ip link set mv name eth0 2>/dev/null"
    ),
    "eth0 with 64 KB of altnames": """
        seq 508 | awk '{ printf "link property add dev eth0 altname %0124d\\n", $1 }' > /run/list
        ip -batch /run/list || true; rm /run/list
    """,
    "eth0 renamed": "ip link set eth0 name mine",
    "eth0 renamed, a bridge in its place": "ip link set eth0 name mine; ip link add name eth0 type bridge",
    "eth0 renamed, a macvlan on it in its place": "ip link set eth0 name mine; ip link add link mine name eth0 type macvlan",
    "eth0 renamed, its name an altname of another": "ip link set eth0 name mine; ip link property add dev eth1 altname eth0",
    "eth0 renamed, its name its own altname": "ip link set eth0 name mine; ip link property add dev mine altname eth0",
    "eth0 deleted": "ip link delete eth0",
    "eth0 deleted, a veth in its place": "ip link delete eth0; ip link add name eth0 type veth peer name other",
    "eth0 deleted, a bridge up in its place": "ip link delete eth0; ip link add name eth0 type bridge; ip link set eth0 up",
    "eth0 deleted, a bridge with its settings in its place": (
        "ip link delete eth0; ip link add name eth0 type bridge; sysctl -qw net.ipv4.conf.eth0.rp_filter=2"
    ),
    "eth0 deleted, a tap in its place": "ip link delete eth0; ip tuntap add dev eth0 mode tap",
    "eth0 deleted, a vxlan in its place": "ip link delete eth0; ip link add eth0 type vxlan id 7 dstport 4789",
    "eth0 and eth1 swapped": "ip link set eth0 name x; ip link set eth1 name eth0; ip link set x name eth1",
    "eth0 and eth1 renamed": "ip link set eth0 name x; ip link set eth1 name y",
    "eth1 deleted, eth0 in its place": "ip link delete eth1; ip link set eth0 name eth1",
    "eth0 deleted, eth1 in its place": "ip link delete eth0; ip link set eth1 name eth0",
    "eth0 moved away": "unshare -n sleep 60 >/dev/null 2>&1 & sleep 0.2; ip link set eth0 netns $!",
    "eth0 moved away, a forged pair in its place": """
        set -- $(ip -o link show eth0 | tr ':@' '  '); mac=$(ip -o link show eth0 | sed 's,.*link/ether ,,; s/ .*//')
        ip link delete eth1
        unshare -n sleep 60 >/dev/null 2>&1 & sleep 0.2; ip link set eth0 netns $!
        ip link add name eth0 index $1 address $mac type veth peer name fake index ${3#if}
        ip link set eth0 up; ip link set fake up
    """,
    "eth0 moved away, a pair into a namespace in its place": """
        set -- $(ip -o link show eth0 | tr ':@' '  ')
        unshare -n sleep 60 >/dev/null 2>&1 & sleep 0.2; ip link set eth0 netns $!
        ip link add name eth0 index $1 type veth peer name fake index ${3#if} netns $!
    """,
    "a group and an alias of ours on a bridge": (
        f"ip link add name x type bridge; ip link set x group {GROUP} alias netctl:here/bridge/front"
    ),
    "a group and an alias of ours on a macvlan": f"""
        ip link add link eth0 name x group {GROUP} type macvlan; ip link set x alias netctl:here/macvlan/web/front
    """,
    "a macvlan of our group": f"ip link add link eth0 name x group {GROUP} type macvlan mode bridge",
    "a veth of our group and alias": f"""
        ip link add name x group {GROUP} type veth peer name y; ip link set x alias netctl:here/veth/app/front
    """,
    "a vxlan of our group": f"ip link add name x group {GROUP} type vxlan id 9 dstport 4789",
    "eth0 of our group, with an alias": f"ip link set eth0 group {GROUP} alias netctl:here/veth/app/front",
    "an alias of control characters": "ip link set eth0 alias \"$(printf '\\033]0;x\\007%0240d\\r\\n' 7)\"",
    "an alias that looks like ours": "ip link set eth0 alias netctl:///; ip link set eth1 alias netctl:here/x/",
    "eth0 at a bridge with a forged alias": """
        ip link add name x type bridge; ip link set x alias netctl:here/direct/front up; ip link set eth0 master x
        ip address flush dev eth0; ip address add 10.44.0.10/24 dev x
    """,
    "eth0 at a bridge": "ip link add name x type bridge; ip link set eth0 master x; ip link set x up",
    "eth0 below a passthru macvlan": "ip link add link eth0 name x type macvlan mode passthru; ip link set x up",
    "eth0's hardware address": "ip link set eth0 address 02:00:00:00:00:99",
    "eth0's hardware address, below a macvlan": """
        ip link add link eth0 name x type macvlan mode passthru; ip link set x address 02:00:00:00:00:99; ip link set x up
    """,
    "eth0's hardware address is the gateway's": (
        "ip link set eth0 address $(ip neighbor show 10.44.0.1 | sed 's/.*lladdr //; s/ .*//')"
    ),
    "eth0's MTU small": "ip link set eth0 mtu 68",
    "eth0's MTU large": "ip link set eth0 mtu 9000",
    "eth0's queue": "ip link set eth0 txqueuelen 1",
    "eth0 down": "ip link set eth0 down",
    "eth0 without ARP": "ip link set eth0 arp off",
    "eth0 promiscuous, all multicast": "ip link set eth0 promisc on allmulticast on",
    "lo down": "ip link set lo down",
    "lo renamed": "ip link set lo down; ip link set lo name x",
    "lo renamed, another called lo": "ip link set lo down; ip link set lo name x; ip link add name lo type bridge",
    "lo's alias is another host's": "ip link set lo alias netctl:here/host/other",
    "lo's alias is another topology's": "ip link set lo alias netctl:other/host/local",
    "lo's alias removed": "ip link set lo alias ''",
    "lo's alias is another host's, and eth0 and eth1 deleted": """
        ip link set lo alias netctl:here/host/other; ip link delete eth0; ip link delete eth1
    """,
    "lo without its address": "ip address flush dev lo",
    "names of odd characters": """
        ip link add name "$(printf 'a\\033[31mb')" type bridge; ip link add name 'a b' type bridge 2>/dev/null || true
        ip link add name "$(printf '\\303\\251%%d' )" type bridge 2>/dev/null || true
        ip link add name 'x;reboot' type bridge; ip link add name "$(printf '\\377\\376')" type bridge
        ip link set eth0 down; ip link set eth0 name "$(printf '\\033[2J')"
    """,
    "a name of 15 bytes": "ip link set eth0 name abcdefghijklmno",
    "all kinds of links": """
        ip tuntap add dev t0 mode tun; ip link add name i0 type ifb; ip link add name b0 type bridge
        ip link add link eth0 name m0 type macvtap; ip link add name g0 type gretap remote 10.44.0.1 2>/dev/null || true
        ip link add name s0 type sit remote 10.44.0.1 2>/dev/null || true
        ip link add name n0 type netkit 2>/dev/null || true; ip link add name bond9 type bond 2>/dev/null || true
        ip link add name w0 type wireguard 2>/dev/null || true; ip link add name l0 type lowpan 2>/dev/null || true
    """,
    "eth0 with an altname of ours": "ip link property add dev eth0 altname here-web-front",
    "hundreds of links": "for each in $(seq 300); do echo link add name l$each type bridge; done | ip -b -",
}
ADDRESSES: dict[str, str] = {
    "an address replaced by one of another length": (
        "ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/16 dev eth0"
    ),
    "an address of another length too": "ip address add 10.44.0.10/16 dev eth0",
    "an address with a peer": "ip address add 10.44.0.99 peer 10.44.0.3 dev eth0",
    "an address replaced by one with a peer": """
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10 peer 10.44.0.3/24 dev eth0
    """,
    "an address before ours": """
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.99/24 dev eth0; ip address add 10.44.0.10/24 dev eth0
    """,
    "an address before ours, secondaries promoted": """
        sysctl -qw net.ipv4.conf.all.promote_secondaries=1 net.ipv4.conf.eth0.promote_secondaries=1
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.99/24 dev eth0; ip address add 10.44.0.10/24 dev eth0
    """,
    "many addresses before ours": """
        ip address delete 10.44.0.10/24 dev eth0
        for each in $(seq 100 160); do echo address add 10.44.0.$each/24 dev eth0; done | ip -b -
        ip address add 10.44.0.10/24 dev eth0
    """,
    "an address of another's": "ip address add 10.44.0.2/24 dev eth0",
    "an address below ours": "ip address delete 10.45.0.10/24 dev eth1; ip address add 10.45.0.2/24 dev eth1",
    "the gateway's address": "ip address add 10.44.0.1/24 dev eth0",
    "the gateway's address on lo": "ip address add 10.44.0.1/32 dev lo",
    "our address on lo": "ip address add 10.44.0.10/32 dev lo",
    "our address on another link": "ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth1",
    "the IPv6 address on another link": "ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::10/64 dev lo",
    "an address with a label": "ip address add 10.44.0.77/24 dev eth0 label eth0:x",
    "an address with a scope": """
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth0 scope link
    """,
    "an address of scope host": "ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth0 scope host",
    "a temporary address in its place": """
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth0 valid_lft 3000 preferred_lft 2000
    """,
    "a temporary IPv6 address in its place": """
        ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::10/64 dev eth0 valid_lft 3000 preferred_lft 2000
    """,
    "an address re-added without our flags": """
        ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth0
        ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::10/64 dev eth0
    """,
    "an IPv6 address with a peer": (
        "ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::10 peer fd44::99/64 dev eth0"
    ),
    "an IPv6 address of another length": "ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::10/128 dev eth0",
    "an IPv6 address deprecated, home, with a route": """
        ip -6 address change fd44::10/64 dev eth0 preferred_lft 0; ip -6 address add fd44::77/64 dev eth0 home nodad
    """,
    "an IPv6 address whose DAD failed": """
        sysctl -qw net.ipv6.conf.all.accept_dad=2 net.ipv6.conf.eth0.accept_dad=2
        ip -6 address delete fd44::10/64 dev eth0; ip -6 address add fd44::1/64 dev eth0; sleep 1.5
        ip -6 address add fd44::10/64 dev eth0
    """,
    "an anycast, a link-local and a loopback address": """
        ip -6 address add fe80::77/64 dev eth0; ip address add 169.254.7.7/16 dev eth0; ip address add 127.0.0.9/8 dev eth0
    """,
    "all addresses flushed": "ip address flush dev eth0; ip address flush dev eth1",
    "thousands of addresses": """
        for one in $(seq 4); do for two in $(seq 250); do echo address add 10.99.$one.$two/32 dev eth0; done; done | ip -b -
    """,
}
ROUTES: dict[str, str] = {
    "a default route replaced": "ip route replace default via 10.44.0.3",
    "a default route by hand": "ip route delete default; ip route add default via 10.44.0.1",
    "a default route of another protocol": "ip route delete default; ip route add default via 10.44.0.1 proto static",
    "a default route by another link": "ip route delete default; ip route add default via 10.45.0.1 dev eth1",
    "a default route of ours by another link": "ip route delete default; ip route add default via 10.45.0.1 dev eth1 proto 78",
    "a default route without next hop": "ip route replace default dev eth0",
    "a default route onlink": "ip route delete default; ip route add default via 10.99.9.9 dev eth0 onlink",
    "a default route before ours": "ip route prepend default via 10.44.0.3",
    "a default route behind ours": "ip route append default via 10.44.0.3",
    "many default routes behind ours": "for each in $(seq 20 60); do echo route append default via 10.44.0.$each; done | ip -b -",
    "a default route of another metric": "ip route add default via 10.44.0.3 metric 5",
    "default routes of ours of other metrics": """
        ip route add default via 10.44.0.3 metric 5 proto 78; ip route add default via 10.44.0.4 metric 6 proto 78
    """,
    "default routes of ours twice": (
        "ip route append default via 10.44.0.3 proto 78; ip route append default via 10.44.0.4 proto 78"
    ),
    "a default route of another TOS": "ip route add default via 10.44.0.3 tos 0x10 proto 78",
    "a default route of another TOS only": "ip route delete default; ip route add default via 10.44.0.1 tos 0x10 proto 78",
    "a default route with a source": "ip route replace default via 10.44.0.1 src 10.45.0.10",
    "a default route over several hops": "ip route replace default nexthop via 10.44.0.3 nexthop via 10.45.0.1",
    "a default route over several hops, of ours": "ip route replace default proto 78 nexthop via 10.44.0.1 nexthop via 10.44.0.3",
    "a default route of a nexthop object": """
        ip nexthop flush
        ip nexthop add id 7 via 10.44.0.3 dev eth0; ip route delete default; ip route add default nhid 7
    """,
    "a default route of a nexthop object, of ours": """
        ip nexthop flush
        ip nexthop add id 7 via 10.44.0.1 dev eth0; ip route delete default; ip route add default nhid 7 proto 78
    """,
    "a default route of a nexthop group": """
        ip nexthop flush
        ip nexthop add id 7 via 10.44.0.3 dev eth0; ip nexthop add id 8 via 10.44.0.1 dev eth0; ip nexthop add id 9 group 7/8
        ip route delete default; ip route add default nhid 9 proto 78
    """,
    "a default route into a blackhole nexthop": """
        ip nexthop flush
        ip nexthop add id 7 blackhole; ip route delete default; ip route add default nhid 7
    """,
    "routes over several hops of ours behind ours": """
        ip route append default proto 78 nexthop via 10.44.0.3 nexthop via 10.44.0.4; ip route append blackhole default proto 78
    """,
    "a default route with options": "ip route replace default via 10.44.0.1 mtu 600 advmss 500 initcwnd 3 proto 78",
    "a default route by an IPv6 next hop": "ip route replace default via inet6 fd44::1 dev eth0",
    "default routes of all types": """
        ip route delete default; ip route add blackhole default; ip route append prohibit default
        ip route append unreachable default; ip route append throw default
    """,
    "a blackhole of ours": "ip route delete default; ip route add blackhole default proto 78",
    "a blackhole before ours": "ip route prepend blackhole default",
    "a connected route by hand": "ip route delete 10.44.0.0/24 dev eth0; ip route add 10.44.0.0/24 dev eth0",
    "a connected route of the kernel's": """
        ip address delete 10.44.0.10/24 dev eth0; ip route flush dev eth0; ip address add 10.44.0.10/24 dev eth0
    """,
    "a connected route by another link": "ip route replace 10.44.0.0/24 dev eth1",
    "a connected route unreachable": "ip route delete 10.44.0.0/24 dev eth0; ip route add unreachable 10.44.0.0/24",
    "a connected route by a gateway": "ip route replace 10.44.0.0/24 via 10.45.0.1",
    "a connected route of scope global": "ip route delete 10.44.0.0/24; ip route add 10.44.0.0/24 dev eth0 scope global proto 78",
    "connected routes of the kernel's beside ours": (
        "ip address add 10.44.0.99/24 dev eth0; ip -6 address add fd44::99/64 dev eth0"
    ),
    "an IPv6 default route replaced": "ip -6 route replace default via fd44::3 dev eth0",
    "an IPv6 default route by hand": "ip -6 route delete default; ip -6 route add default via fd44::1 dev eth0",
    "an IPv6 default route beside ours": "ip -6 route append default via fd44::3 dev eth0",
    "an IPv6 default route of ours beside ours": "ip -6 route append default via fd44::3 dev eth0 proto 78",
    "an IPv6 default route before ours": "ip -6 route add default via fd44::3 dev eth0 metric 5 proto 78",
    "an IPv6 default route over several hops": "ip -6 route replace default nexthop via fd44::3 nexthop via fd44::4",
    "an IPv6 default route of a nexthop object": """
        ip nexthop flush
        ip nexthop add id 7 via fd44::3 dev eth0; ip -6 route delete default; ip -6 route add default nhid 7
    """,
    "IPv6 default routes of other types": "ip -6 route delete default; ip -6 route add unreachable default metric 1024",
    "an IPv6 blackhole of ours": "ip -6 route delete default; ip -6 route add blackhole default metric 1024 proto 78",
    "an IPv6 connected route by hand": "ip -6 route delete fd44::/64 dev eth0; ip -6 route add fd44::/64 dev eth0",
    "an IPv6 connected route prohibited": "ip -6 route delete fd44::/64 dev eth0; ip -6 route add prohibit fd44::/64 metric 1024",
    "routes flushed": "ip route flush table main; ip -6 route flush table main",
    "the local table flushed": "ip route flush table local; ip -6 route flush table local",
    "routes of other tables": """
        ip route add default via 10.44.0.3 table 77 proto 78; ip rule add lookup 77 priority 5
        ip -6 rule add to fd44::7 lookup 78 priority 5; ip route add blackhole default table 79
    """,
    "rules deleted": "ip rule delete lookup main; ip -6 rule delete lookup main; ip rule delete lookup local",
    "a rule that drops all": "ip rule add prohibit priority 1; ip -6 rule add blackhole priority 1",
    "routes to elsewhere": """
        ip route add 10.99.0.0/16 via 10.44.0.3; ip route add blackhole 10.98.0.0/16; ip route add 10.97.0.0/16 dev eth0
    """,
    "routes to elsewhere, of ours": """
        ip route add 10.99.0.0/16 via 10.44.0.3 proto 78; ip route append 10.99.0.0/16 via 10.44.0.4 proto 78
        ip route add 10.99.0.0/16 via 10.44.0.5 proto 78 metric 9; ip route add blackhole 10.98.0.0/16 proto 78
        ip -6 route add fd99::/64 via fd44::3 proto 78; ip -6 route append fd99::/64 via fd44::4 proto 78
    """,
    "thousands of routes": """
        for one in $(seq 40); do for two in $(seq 250); do echo route add 10.99.$one.$two via 10.44.0.3; done; done | ip -b -
    """,
    "thousands of routes, of ours": """
        for one in $(seq 8); do for two in $(seq 250); do
            echo route add 10.99.$one.$two via 10.44.0.3 proto 78; done; done | ip -b -
    """,
}
NEIGHBORS: dict[str, str] = {
    "a neighbor elsewhere": "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
    "a neighbor elsewhere, of ours": "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent protocol 78",
    "a neighbor by hand": """
        mac=$(ip neighbor show 10.44.0.1 | sed 's/.*lladdr //; s/ .*//'); ip neighbor delete 10.44.0.1 dev eth0
        ip neighbor add 10.44.0.1 lladdr $mac dev eth0 nud permanent
    """,
    "a neighbor without ARP": "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud noarp",
    "a neighbor learnt from elsewhere": (
        "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud reachable extern_learn"
    ),
    "a neighbor managed": "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth0 managed || true",
    "a neighbor of another link": "ip neighbor replace 10.44.0.1 lladdr 02:00:00:00:00:99 dev eth1 nud permanent protocol 78",
    "an IPv6 neighbor elsewhere": "ip neighbor replace fd44::1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent router",
    "a proxy entry": "ip neighbor add proxy 10.44.0.1 dev eth0; ip neighbor add proxy fd44::1 dev eth0 protocol 78",
    "neighbors flushed": "ip neighbor flush all nud permanent",
    "hundreds of neighbors of ours": """
        for each in $(seq 20 250); do
            echo neighbor add 10.44.0.$each lladdr 02:00:00:00:00:77 dev eth0 protocol 78 nud permanent
        done | ip -b -
    """,
    "thousands of neighbors": """
        for one in $(seq 10); do for each in $(seq 250); do
            echo neighbor add 10.99.$one.$each lladdr 02:00:00:00:00:77 dev eth0 nud permanent; done; done | ip -b -
    """,
}
SETTINGS: dict[str, str] = {
    "IPv6 off everywhere": "sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
    "IPv6 off on eth0": "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
    "IPv6 off by default, and eth0 deleted": "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link delete eth0",
    "IPv6 off on lo": "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1",
    "IPv6 off on lo and eth0": "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1 net.ipv6.conf.eth0.disable_ipv6=1",
    "IPv6 off everywhere but on lo": "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=0",
    "settings of all kinds": """
        sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv4.conf.all.rp_filter=1 net.ipv4.ip_forward=1 \
            net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.addr_gen_mode=1 net.ipv4.conf.eth0.arp_ignore=8
    """,
    "DAD on, and eth0 deleted": """
        sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.default.accept_dad=1 net.ipv6.conf.default.dad_transmits=5
        ip link delete eth0
    """,
    "queues": "tc qdisc replace dev eth0 root pfifo",
    "our queue removed": "tc qdisc delete dev eth0 root",
    "another queue with our handle": f"{EGRESS} tc qdisc add dev eth0 root handle 4e43: pfifo",
    "a class queue with our handle": f"{EGRESS} tc qdisc add dev eth0 root handle 4e43: htb",
    "our queue with another handle": f"{EGRESS} tc qdisc add dev eth0 root handle 7: tbf rate 1mbit burst 32k limit 32k",
    "our handle below another's": f"""
        {EGRESS} tc qdisc add dev eth0 root handle 1: htb default 1; tc class add dev eth0 parent 1: classid 1:1 htb rate 1gbit
        tc qdisc add dev eth0 parent 1:1 handle 4e43: pfifo
    """,
    "our rate below another's": f"""
        {EGRESS} tc qdisc add dev eth0 root handle 1: htb default 1; tc class add dev eth0 parent 1: classid 1:1 htb rate 1gbit
        tc qdisc add dev eth0 parent 1:1 handle 4e43: tbf rate 100mbit burst 125000 limit 1375000
    """,
    "another rate": "tc qdisc replace dev eth0 root handle 4e43: tbf rate 1gbit burst 1m limit 2m",
    "our rate with a peak": (
        f"{EGRESS} tc qdisc add dev eth0 root handle 4e43: tbf rate 100mbit burst 125000 limit 1375000 peakrate 1gbit mtu 1600"
    ),
    "filters at eth0": """
        nft add table netdev x
        nft add chain netdev x y '{ type filter hook ingress device eth0 priority 0; policy drop; }'
    """,
    "tables of our names": """
        nft add table inet netctl-here; nft add table bridge netctl-here; nft add table netdev netctl-here.front
        nft add chain inet netctl-here x '{ type filter hook output priority 0; policy drop; }'
    """,
    "a drop in its own namespace": "iptables -P OUTPUT DROP 2>/dev/null || nft add table inet x",
}
DAMAGES = LINKS | ADDRESSES | ROUTES | NEIGHBORS | SETTINGS


@dataclass(slots=True)
class Attacked:
    """A machine with the topology on it, and what stood there before the first damage."""

    machine: Machine
    file: Path
    before: Snapshot

    @classmethod
    def make(cls, folder: Path) -> Attacked:
        machine = Machine.make(folder)
        machine.sh("ip netns add x; ip netns delete x")
        file = machine.folder / "topology.yaml"
        file.write_text(TOPOLOGY)
        assert quick_netctl(machine, "apply", file)[0].status == 0
        return cls(machine, file, read_live(machine))

    def damage(self, script: str) -> None:
        """Let the root of `web` do this."""
        self.machine.run("sh", "-euc", script, netns="here.web")

    def netctl(self, command: str) -> Outcome:
        return quick_netctl(self.machine, command, self.file)[0]

    def look(self) -> Snapshot:
        """What there is now. `ip -j` escapes nothing: where a name or an alias is in its way, the namespace is renewed first."""
        try:
            return read_live(self.machine)
        except (UnicodeDecodeError, JSONDecodeError):
            self.renew()
            return read_live(self.machine)

    def renew(self) -> None:
        """Rid the namespace of what a damage has left that is the container's own affair."""
        self.machine.sh("ip netns delete here.web")
        assert self.netctl("apply").status == 0


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One machine for all damages; at the end, a destroy leaves nothing on it."""
    require_capability("root")
    require_capability("nft")
    made = Attacked.make(tmp_path_factory.mktemp("attacked"))
    try:
        yield made
        made.damage("ip link set eth0 name x; ip link add name eth0 type bridge; ip route replace default dev eth1")
        assert made.netctl("destroy").status == 0
        left = made.machine.sh("ls /run/netns /run/netctl 2>/dev/null || true; ip -o link; nft list tables").splitlines()
        assert [line for line in left if line and not line.endswith(":") and "LOOPBACK" not in line] == []
        print(f"\ntried: {len(DAMAGES)} damages by the root of a container, {len(RACES)} while netctl is at work")
    finally:
        made.machine.end()


def elsewhere(snapshot: Snapshot) -> Snapshot:
    """All but the namespace of the container that does the damage, and processes of the test."""
    return frozenset(line for line in snapshot if not line.startswith(("here.web: ", "process: ")))


@pytest.mark.parametrize("damage", DAMAGES)
def test_apply_does_not_fail_by_it(attacked: Attacked, damage: str) -> None:
    """Diff names it or lets it be, apply ends with 0, and then nothing differs; the host and all others are as they were."""
    attacked.damage(DAMAGES[damage])
    assert attacked.netctl("diff").status in (0, 1)
    done = attacked.netctl("apply")
    assert done.status == 0, done.err
    again = attacked.netctl("diff")
    assert again.status == 0, again.out
    now = attacked.look()
    if differences(attacked.before, now):
        attacked.renew()
    assert differences(elsewhere(attacked.before), elsewhere(now)) == ""


RACES = {
    "a route replaced": "ip route replace default via 10.44.0.3",
    "a route deleted": "ip route delete default",
    "an address re-added": "ip address delete 10.44.0.10/24 dev eth0; ip address add 10.44.0.10/24 dev eth0",
    "eth0 deleted": "ip link delete eth0",
    "another eth0": "ip link delete eth0; ip link add name eth0 type bridge",
    "eth0 down and up": "ip link set eth0 down; ip link set eth0 up",
    "eth0 renamed": "ip link set eth0 name x; ip link set x name eth0",
    "another hardware address": "ip link set eth0 address 02:00:00:00:00:99",
    "IPv6 off": "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1; sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
}
"""What the root of a container does without end."""


@pytest.mark.parametrize("race", RACES)
def test_a_race_is_drift_and_no_failure(attacked: Attacked, race: str) -> None:
    """While a container's root undoes what apply makes, another container is made and kept; the first is named, by status 1."""
    machine, file = attacked.machine, attacked.file
    racer = machine.start_command("sh", "-c", f"while :; do {RACES[race]}; done 2>/dev/null", netns="here.web")
    try:
        file.write_text(f"{TOPOLOGY}  new: {{networks: {{front: auto}}}}\n")
        done = attacked.netctl("apply")
        assert done.status in (0, 1), done.err
        assert done.status == 0 or "the network of container web changed during the apply" in done.err
        assert "every host is as it was" not in done.err
        assert "10.44.0." in machine.sh("ip -n here.new address show eth0")
        assert machine.run("ping", "-c1", "-W2", "10.44.0.3", netns="here.new").status == 0
    finally:
        racer.kill(signal.SIGKILL)
        racer.wait()
        file.write_text(TOPOLOGY)
    done = attacked.netctl("apply")
    assert done.status == 0, done.err
    assert attacked.netctl("diff").status == 0
    attacked.renew()


def test_a_restless_table_is_read_all_the_same(attacked: Attacked) -> None:
    """A container that changes its thousands of routes without end hinders no reading, though no dump of them is ever whole."""
    attacked.damage(
        "for one in $(seq 40); do for two in $(seq 250); do echo route add 10.99.$one.$two via 10.44.0.3; done; done | ip -b -"
    )
    churn = "while :; do ip route delete 10.99.1.1; ip route add 10.99.1.1 via 10.44.0.3; done"
    racer = attacked.machine.start_command("sh", "-c", churn, netns="here.web")
    try:
        for command in ("diff", "status", "apply"):
            assert attacked.netctl(command).status == 0
    finally:
        racer.kill(signal.SIGKILL)
        racer.wait()
    attacked.renew()


def test_a_container_does_not_choose_its_address(attacked: Attacked) -> None:
    """Of two containers with automatic addresses, one takes the other's inside: apply gives each its own back."""
    machine = attacked.machine
    read = "ip -o -4 address show eth0 | sed 's/.*inet //; s/ .*//'"
    before = [machine.sh(read, netns=netns) for netns in ("here.app", "here.db")]
    own, others = (address.strip() for address in before)
    machine.sh(f"ip address delete {own} dev eth0; ip address add {others} dev eth0", netns="here.app")
    assert attacked.netctl("diff").status == 1
    assert attacked.netctl("apply").status == 0
    assert [machine.sh(read, netns=netns) for netns in ("here.app", "here.db")] == before
    assert differences(attacked.before, read_live(machine)) == ""


# --- links and namespaces of netctl's beside containers ---------------------------------------------------------------

BRIDGE = "dev b-here-front"
HOST_DAMAGES = {
    "a gateway re-added": f"ip address del 10.44.0.1/24 {BRIDGE}; ip address add 10.44.0.1/24 {BRIDGE}",
    "a gateway behind another": f"""
        ip address del 10.44.0.1/24 {BRIDGE}; ip address add 10.44.0.99/24 {BRIDGE}; ip address add 10.44.0.1/24 {BRIDGE}
    """,
    "a gateway behind another, promoted": f"""
        sysctl -qw net.ipv4.conf.all.promote_secondaries=1; ip address del 10.44.0.1/24 {BRIDGE}
        ip address add 10.44.0.99/24 {BRIDGE} noprefixroute; ip address add 10.44.0.1/24 {BRIDGE} noprefixroute
    """,
    "a gateway for a time": f"""
        ip address del 10.44.0.1/24 {BRIDGE}; ip address add 10.44.0.1/24 {BRIDGE} valid_lft 4000 preferred_lft 4000
    """,
    "a route by hand": f"ip route del 10.44.0.0/24 {BRIDGE}; ip route add 10.44.0.0/24 {BRIDGE}",
    "a route to another bridge": "ip route replace 10.44.0.0/24 dev b-here-back proto static",
    "an IPv6 route by hand": f"ip -6 route del fd44::/64 {BRIDGE}; ip -6 route add fd44::/64 {BRIDGE} proto static",
}


@pytest.mark.parametrize("damage", HOST_DAMAGES)
def test_what_stands_on_an_owned_bridge_is_replaced(attacked: Attacked, damage: str) -> None:
    """Diff shows it, one apply puts it right, and then nothing differs."""
    attacked.machine.sh(HOST_DAMAGES[damage])
    assert attacked.netctl("diff").status == 1
    done = attacked.netctl("apply")
    assert done.status == 0, done.err
    assert attacked.netctl("diff").status == 0
    attacked.machine.sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0")
    # An address may be without the flags that ours have: it serves as well.
    left = differences(attacked.before, read_live(attacked.machine)).splitlines()
    assert [line for line in left if not line[2:].startswith(".: address b-here-front")] == []


HINDERING = {
    "a route that leads nowhere": ("unreachable 10.44.0.0/25", "10.44.0.0/25"),
    "an IPv6 blackhole": ("blackhole fd44::/65", "fd44::/65"),
}


@pytest.mark.parametrize("route", HINDERING)
def test_a_route_of_others_over_a_live_subnet_is_named(attacked: Attacked, route: str) -> None:
    """It came after the subnet was made, so it stops no command: `status` names it, and it is not touched."""
    words, named = HINDERING[route]
    family = "-6" if ":" in words else "-4"
    attacked.machine.sh(f"ip {family} route add {words}")
    before = read_live(attacked.machine)
    told = attacked.netctl("status")
    assert named in told.out
    assert attacked.netctl("apply").status == 0
    assert differences(before, read_live(attacked.machine)) == ""
    attacked.machine.sh(f"ip {family} route delete {words}")


def test_elsewhere_on_the_host_it_is_refused(attacked: Attacked) -> None:
    """What is not netctl's and has a name that netctl needs is named, by status 3, and is not touched."""
    attacked.machine.sh(
        """
        ip link property del dev b-here-front altname here-front
        ip link add name x type bridge; ip link property add dev x altname here-front
        """
    )
    before = read_live(attacked.machine)
    for command in ("diff", "apply"):
        done = attacked.netctl(command)
        assert done.status == 3, done.out + done.err
        assert "here-front" in done.err
    assert differences(before, read_live(attacked.machine)) == ""
    attacked.machine.sh("ip link delete x; ip link property add dev b-here-front altname here-front")


ROUTER = "ip -n shop.lab.router"
SEGMENT = f"dev $({ROUTER} -o link show type bridge | cut -d' ' -f2 | tr -d :)"
LAB_DAMAGES = {
    "the segment without its group": f"{ROUTER} link set {SEGMENT} group 0",
    "the segment without both marks": f"{ROUTER} link set {SEGMENT} group 0 alias ''",
    "a cable without both marks": f"{ROUTER} link set h-alpha group 0 alias ''",
    "a router's address re-added": f"{ROUTER} address del 192.0.2.1/24 {SEGMENT}; {ROUTER} address add 192.0.2.1/24 {SEGMENT}",
    "a router's routes elsewhere": f"""
        for each in $({ROUTER} route show proto 78 | grep via | cut -d' ' -f1)
        do {ROUTER} route delete $each; {ROUTER} route add $each via 192.0.2.12; done
    """,
    "a host's default route by hand": (
        "ip -n shop.lab.alpha route delete default; ip -n shop.lab.alpha route add default via 192.0.2.1"
    ),
    "another uplink": """
        ip -n shop.lab.alpha link set eth0 down; ip -n shop.lab.alpha link set eth0 name x
        ip -n shop.lab.alpha link add name eth0 type bridge
    """,
    "a container that says that it is another host's": """
        ip -n shop.web link set lo alias netctl:shop/host/shop.lab.beta; ip -n shop.web link delete eth0
    """,
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Path]]:
    """A lab, applied."""
    require_capability("root")
    machine = Machine.make(tmp_path_factory.mktemp("lab"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        file = write(machine, LAB)
        assert quick_netctl(machine, "apply", file)[0].status == 0
        yield machine, file
    finally:
        machine.end()


@pytest.mark.parametrize("damage", LAB_DAMAGES)
def test_what_stands_in_a_lab_is_replaced(lab: tuple[Machine, Path], damage: str) -> None:
    """Diff shows it, one apply puts it right, and then nothing differs."""
    machine, file = lab
    machine.sh(LAB_DAMAGES[damage])
    assert quick_netctl(machine, "diff", file)[0].status == 1
    done, _ = quick_netctl(machine, "apply", file)
    assert done.status == 0, done.err
    assert quick_netctl(machine, "diff", file)[0].status == 0
