"""The topologies of the tests in `tests/system/e2e`, and the machine that a `connect: local` one is for.

A topology is text with marks in it that `edit` replaces, as a user edits a file. In a machine of the test's own every name is
free, so none is drawn.
"""

from __future__ import annotations

from pathlib import Path

from tests.harness.machine import Machine

LOCAL = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  db: {networks: {back: 10.45.0.20}, command: [sleep, infinity]}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""

LOCAL_CHANGED = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], mtu: 1400}
  side: {cidr: 10.46.0.0/24}
containers:
  web: {networks: {front: [10.44.0.11, "fd44::10"]}, ports: ["8080:81", "9090:90/udp"]}
  app: {networks: {side: 10.46.0.20}}
policies:
  - {allow: app, to: front}
"""
"""Something is added, changed in place, re-created, and removed: with LOCAL before it, every kind of step is taken."""

LAB = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  open: {cidr: 10.46.0.0/24, mode: routed}
containers:
  web: {host: alpha, networks: {front: 10.44.0.10}, ports: ["8080:80", {listen: 8443, to: 443, from: [192.0.2.0/24]}]}
  app: {host: alpha, networks: {front: auto, back: auto}}
  db: {host: alpha, networks: {back: 10.45.0.20}, command: [sleep, infinity]}
  worker: {host: beta, replicas: 3, networks: {open: auto}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""

LAB_SMALL = """\
version: 1
name: small
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
subnets:
  open: {cidr: 10.46.0.0/24, mode: routed}
containers:
  one: {networks: {open: auto}}
"""


def write(machine: Machine, text: str, name: str = "topology.yaml") -> Path:
    """The text as a file that the machine sees, too."""
    path = machine.folder / name
    path.write_text(text)
    return path


def edit(path: Path, *replacements: tuple[str, str]) -> None:
    """Replace parts of the file; each must be in it."""
    text = path.read_text()
    for before, after in replacements:
        assert before in text, f"{before!r} is not in {path}"
        text = text.replace(before, after)
    path.write_text(text)


def furnish(machine: Machine) -> None:
    """What an ordinary host has before netctl comes: an uplink with a default route, others' tables, routes, links, settings.

    Another node on the uplink's segment is the namespace `world`, with a link-local router's manners and nothing else.
    """
    machine.sh(
        """
        echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
        ip netns add world
        ip netns exec world sh -c 'for each in all default; do echo 0 > /proc/sys/net/ipv6/conf/$each/accept_dad; done'
        ip link add eth0 type veth peer name far netns world
        ip address add 192.0.2.11/24 dev eth0; ip -6 address add 2001:db8::11/64 dev eth0 nodad
        ip link set eth0 up
        ip -n world address add 192.0.2.1/24 dev far; ip -n world -6 address add 2001:db8::1/64 dev far nodad
        ip -n world link set far up; ip -n world link set lo up
        ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1
        ip link add name theirs type bridge; ip link set theirs group 7 alias "not netctl's" up
        ip address add 172.30.0.1/16 dev theirs
        ip route add 198.51.100.0/24 via 192.0.2.1; ip rule add to 198.51.100.7 lookup 77 priority 700
        ip route add 198.51.100.7 via 192.0.2.1 table 77 proto 78
        nft add table inet theirs '{ chain input { type filter hook input priority 0; tcp dport 23 drop; }; }'
        nft add set inet theirs s '{ type ipv4_addr; elements = { 1.2.3.4 }; }'
        nft add table ip netctl
        echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter
        until ip -6 route show table local | grep -q "local fe80::.*eth0"; do sleep 0.01; done
        until ip -n world -6 route show table local | grep -q "local fe80::.*far"; do sleep 0.01; done
        echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra
        """
    )
