"""A dual-stack subnet over three hosts by VXLAN, two of them on one link and the third behind a router."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from contextlib import closing
from itertools import permutations

import pytest

from reconciler.state.naming import vni_of
from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace
from tests.harness.worlds.overlay import (
    ETH_P_ARP,
    PATIENCE_S,
    QUIET_S,
    LabWorld,
    broadcast_frame,
    count_changes,
    received,
    vxlan_packet,
)

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
  gamma: {connect: lab, address: 198.51.100.13}
subnets:
  front: {cidr: [10.171.0.0/24, "fd00:171::/64"]}
  back: {cidr: 10.172.0.0/24, mode: isolated, vni: 77, vxlan_port: 4790}
  far: {cidr: 10.173.0.0/24, mode: routed}
containers:
  web: {host: alpha, networks: {front: auto}}
  api: {host: beta, networks: {front: auto, back: auto}, ports: [{listen: 9090, to: 90, on: [alpha, beta, gamma]}, {listen: 9091, to: 90, on: [gamma], from: [192.0.2.11/32]}]}
  db: {host: gamma, networks: {front: auto, back: auto}}
  job: {host: gamma, networks: {far: auto}}
policies:
  - {allow: web, to: api, ports: [91/tcp]}
  - {allow: job, to: web, ports: [80/tcp]}
  - {allow: front, to: far, ports: [81/tcp]}
"""  # noqa: E501
HOSTS = {"alpha": "192.0.2.11", "beta": "192.0.2.12", "gamma": "198.51.100.13"}
HOME = {"web": "alpha", "api": "beta", "db": "gamma"}


def bridge_of(world: LabWorld, subnet: str = "front") -> str:
    return f"b-{world.name}-{subnet}"


def test_all_reach_all(spread: LabWorld) -> None:
    """Containers each other, hosts all containers, and containers the own addresses of all hosts, in both families."""
    pairs = [(one, address) for one, two in permutations(HOME, 2) for address in spread.addresses(two)]
    for host in HOSTS:
        pairs += [(f"lab.{host}", address) for two in HOME for address in spread.addresses(two)]
        pairs += [(one, own) for one in HOME for own in spread.addresses(f"lab.{host}", bridge_of(spread))]
    assert len(pairs) == (6 + 9 + 9) * 2
    assert spread.unreachable(pairs) == []
    spread.verify()


def test_packets_of_the_whole_mtu_pass_and_no_larger(spread: LabWorld) -> None:
    """1,450 bytes are left of 1,500 over IPv4. They pass with DF set; one byte more is refused at home, not lost on the way."""
    pairs = [(one, address) for one, two in permutations(HOME, 2) for address in spread.addresses(two)]
    assert spread.unreachable(pairs, size=1450) == []
    with closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        with pytest.raises(OSError, match="Message too long") as refused:
            client.sendto(bytes(1451 - 28), (spread.addresses("db")[0], 9))
        assert refused.value.errno == errno.EMSGSIZE


def test_the_tables_hold_what_the_file_says_and_nothing_else(spread: LabWorld) -> None:
    """After all that traffic, each VXLAN knows three remote endpoints (two hosts, and two containers), and learnt nothing."""
    shown = spread.inside("lab.alpha").run("bridge", "-j", "fdb", "show", "dev", f"x-{spread.name}-front"[:15]).stdout
    entries = json.loads(shown)
    remote = [entry for entry in entries if "dst" in entry]
    assert sorted(entry["dst"] for entry in remote if entry["mac"] == "00:00:00:00:00:00") == ["192.0.2.12", "198.51.100.13"]
    endpoints = {entry["mac"] for entry in remote} - {"00:00:00:00:00:00"}
    assert len(endpoints) == 4
    assert {entry["mac"] for entry in entries if entry["state"] == "static"} == endpoints
    assert all(entry["state"] in ("static", "permanent") for entry in entries)


def test_arp_is_answered_at_home(spread: LabWorld) -> None:
    """A container that asks for one on another host is answered by its own bridge: a third host hears nothing of it."""
    target = spread.addresses("api")[0]
    with closing(spread.open("db", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))) as listener:
        listener.bind(("eth0", ETH_P_ARP))
        spread.inside("web").run("ip", "neighbor", "flush", "dev", "eth0", "nud", "reachable", "nud", "stale", "nud", "delay")
        assert spread.unreachable([("web", target)]) == []
        shown = spread.inside("web").run("ip", "neighbor", "show", target).stdout
        assert json.loads(spread.inside("api").run("ip", "-j", "link", "show", "eth0").stdout)[0]["address"] in shown
        assert not received(listener, socket.inet_aton(target), QUIET_S)


def test_broadcast_and_multicast_arrive(spread: LabWorld) -> None:
    """At the containers of all hosts, as on one segment."""
    group = "239.1.2.3"
    with (
        closing(spread.open("api", socket.AF_INET, socket.SOCK_DGRAM)) as near,
        closing(spread.open("db", socket.AF_INET, socket.SOCK_DGRAM)) as far,
        closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as sender,
    ):
        for member, listener in (("api", near), ("db", far)):
            listener.bind(("", 7777))
            own = socket.inet_aton(spread.addresses(member)[0])
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + own)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for address in ("255.255.255.255", "10.171.0.255", group):
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            sender.sendto(f"to {address}".encode(), (address, 7777))
            for listener in (near, far):
                assert received(listener, f"to {address}".encode(), PATIENCE_S), address


def test_a_port_is_published_on_every_host(spread: LabWorld) -> None:
    """From outside, from hosts and from containers, by each host's address; replies come back by the host that was asked."""
    gateways = {host: spread.addresses(f"lab.{host}", bridge_of(spread)) for host in HOSTS}
    with spread.serving("api", 90):
        for host, address in HOSTS.items():
            askers = ("lab.outside", "lab.alpha", "lab.gamma", "web", "db", "api")
            answers = {asker: spread.ask(asker, address, 9090) for asker in askers}
            assert all(answer.startswith("api ") for answer in answers.values()), (host, answers)
            # Where the container lives it sees who asks; elsewhere, the address of the host that was asked.
            seen = answers["lab.outside"].split()[1]
            assert seen == "203.0.113.10" if host == "beta" else seen in gateways[host]
            assert spread.ask(f"lab.{host}", "127.0.0.1", 9090).startswith("api ")
        # Judged by the host that listens, before it is handed on.
        assert spread.ask("lab.alpha", HOSTS["gamma"], 9091).startswith("api ")
        assert spread.ask("lab.beta", HOSTS["gamma"], 9091) == ""


@pytest.mark.parametrize("filters_bridges", [True, False], ids=["with br_netfilter", "without"])
def test_policies_hold_across_hosts(spread: LabWorld, filters_bridges: bool) -> None:
    """Between subnets on different hosts what is allowed passes, replies with it, and nothing else.

    Whether bridges are filtered (br_netfilter, which Docker loads) or not: a bridge then shows its packets to no connection
    tracking.
    """
    for host in HOSTS:
        value = int(filters_bridges)
        for family in ("ip", "ip6"):
            spread.inside(f"lab.{host}").run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{family}tables={value}")
    web, job, back = spread.addresses("web")[0], spread.addresses("job")[0], spread.addresses("api", "eth1")[0]
    with spread.serving("web", 80), spread.serving("web", 82), spread.serving("job", 81), spread.serving("api", 91):
        assert spread.ask("job", web, 80) == f"web {job}"
        assert spread.ask("job", web, 82) == ""
        assert spread.ask("web", job, 81) == f"job {web}"
        assert spread.ask("db", job, 81).startswith("job ")
        assert spread.ask("web", back, 91) == f"api {web}"
        assert spread.ask("web", back, 92) == ""
        assert spread.ask("job", back, 91) == ""
    assert spread.unreachable([("job", web), ("web", job)]) == [("job", web), ("web", job)]


def test_only_declared_hosts_get_into_the_overlay(spread: LabWorld, rogue: Namespace) -> None:
    """A frame in a VXLAN packet reaches the containers when a declared host sends it, and from no other node.

    Not from a rogue node, which the hosts hear as well as each other, whatever address of the host it is sent to.
    """
    vni = vni_of(spread.name, "front")
    inner = broadcast_frame("02:00:00:00:00:66", "10.171.0.66", b"from nowhere")
    packet = vxlan_packet(vni, inner)
    assert rogue.run("ping", "-c1", "-W2", "192.0.2.11").returncode == 0
    with closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as victim:
        victim.bind(("", 7777))
        for sender in ("rogue", "lab.outside", "lab.router"):
            with closing(spread.open(sender, socket.AF_INET, socket.SOCK_DGRAM)) as injector:
                injector.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                targets = ["192.0.2.11"] + (["192.0.2.255", "224.0.0.1"] if sender == "rogue" else [])
                for target in targets:
                    injector.sendto(packet, (target, 4789))
        assert not received(victim, b"from nowhere", QUIET_S)
        with closing(spread.open("lab.beta", socket.AF_INET, socket.SOCK_DGRAM)) as declared:
            declared.sendto(packet, ("192.0.2.11", 4789))
        assert received(victim, b"from nowhere", PATIENCE_S)


def test_a_declared_host_may_be_the_router_of_others(spread: LabWorld) -> None:
    """VXLAN packets from one declared host to another pass through a third, which is no end of that tunnel."""
    beta = spread.inside("lab.beta")
    beta.run("ip", "route", "add", "198.51.100.13/32", "via", "192.0.2.11")
    try:
        asked = spread.inside("lab.alpha").run("ip", "route", "get", "198.51.100.13", "from", "192.0.2.12", "iif", "eth0").stdout
        assert "via 192.0.2.1 " in asked
        assert spread.unreachable([("api", address) for address in spread.addresses("db")]) == []
    finally:
        beta.run("ip", "route", "delete", "198.51.100.13/32", "via", "192.0.2.11")


def test_tunnels_take_no_place_in_connection_tracking(spread: LabWorld) -> None:
    """Each connection of containers has an outer port of its own: it would be tracked once more on each of the two hosts."""
    before = {host: tracked_between(spread, host) for host in ("alpha", "beta")}
    assert spread.unreachable([("web", spread.addresses("api")[0]), ("lab.alpha", HOSTS["beta"])]) == []
    for host, seen in before.items():
        between = tracked_between(spread, host)
        assert any("icmp" in line for line in between)
        assert [line for line in between - seen if "dport=4789" in line] == []


def tracked_between(spread: LabWorld, host: str) -> set[str]:
    """What `host` tracks between alpha's and beta's underlay addresses: protocol, addresses and ports, without what changes."""
    lines = spread.inside(f"lab.{host}").run("cat", "/proc/net/nf_conntrack").stdout.splitlines()
    words = ([word for word in line.split() if "=" in word or word in ("icmp", "udp")] for line in lines)
    return {" ".join(each) for each in words if f"src={HOSTS['alpha']}" in each and f"src={HOSTS['beta']}" in each}


def test_a_container_cannot_forge_vxlan_packets(spread: LabWorld) -> None:
    """Behind NAT it would look like its host. Its packets to the port of a VXLAN are dropped, whatever host they are for."""
    packet = vxlan_packet(vni_of(spread.name, "front"), broadcast_frame("02:00:00:00:00:66", "10.171.0.66", b"forged"))
    gateway = spread.addresses("lab.alpha", bridge_of(spread))[0]
    with (
        closing(spread.open("api", socket.AF_INET, socket.SOCK_DGRAM)) as there,
        closing(spread.open("db", socket.AF_INET, socket.SOCK_DGRAM)) as beyond,
        closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as forger,
    ):
        forger.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for listener in (there, beyond):
            listener.bind(("", 7777))
        for target in (*HOSTS.values(), gateway, "10.171.0.255", "224.0.0.1"):
            forger.sendto(packet, (target, 4789))
        assert not received(there, b"forged", QUIET_S)
        assert not received(beyond, b"forged", QUIET_S)


def test_a_container_cannot_borrow_an_address_of_another_host(spread: LabWorld) -> None:
    """The filter of its own host drops what is from an address that belongs to a container elsewhere."""
    stolen = spread.addresses("api")[0]
    spread.inside("web").run("ip", "address", "add", f"{stolen}/32", "dev", "eth0")
    with (
        closing(spread.open("db", socket.AF_INET, socket.SOCK_DGRAM)) as listener,
        closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as thief,
    ):
        listener.bind(("", 7777))
        thief.bind((stolen, 0))
        thief.sendto(b"stolen", (spread.addresses("db")[0], 7777))
        assert not received(listener, b"stolen", QUIET_S)
    spread.inside("web").run("ip", "address", "delete", f"{stolen}/32", "dev", "eth0")


def test_the_neighbours_of_a_host_do_not_get_in(spread: LabWorld, rogue: Namespace) -> None:
    """A node on the underlay that routes to a container by a host, or claims a container's address, is not heard."""
    rogue.run("ip", "route", "add", "10.171.0.0/24", "via", "192.0.2.11")
    rogue.run("ip", "address", "add", f"{spread.addresses('db')[0]}/32", "dev", "lo")
    web = spread.addresses("web")[0]
    assert rogue.run("ping", "-c1", "-W1", web, check=False).returncode != 0
    assert rogue.run("ping", "-c1", "-W1", "-I", spread.addresses("db")[0], web, check=False).returncode != 0


def test_the_printed_commands_make_the_same(spread: LabWorld) -> None:
    """What `diff --commands` prints is run by sh on an empty machine; there is nothing left to do then, and packets pass."""
    assert run_netctl("destroy", spread.file).status == 0
    script = run_netctl("diff", "--commands", spread.file).out
    ran = subprocess.run(["sh", "-e"], input=script, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    plan = run_netctl("diff", spread.file)
    assert plan.status == 0, plan.out
    assert spread.unreachable([("web", address) for address in spread.addresses("db")]) == []


def test_one_more_container_touches_only_its_own_entries(spread: LabWorld) -> None:
    """On each other host: elements of the fast path and of its addresses, two forwarding entries, neighbors, and no more."""
    text = TEXT.replace("  job:", "  new: {host: beta, networks: {front: auto}}\n  job:")
    spread.file.write_text(text.replace("NAME", spread.name))
    hosts = {one["host"]: one.get("changes", []) for one in json.loads(run_netctl("diff", "--json", spread.file).out)["hosts"]}
    for host in ("alpha", "gamma"):
        # The routes are there because a policy names `front`.
        kinds = sorted(change["ref"]["kind"] for change in hosts[host])
        assert kinds == ["element"] * 4 + ["fdb", "fdb", "neighbor", "neighbor", "route", "route"], hosts[host]
    assert {change["after"]["about"] for change in hosts["beta"] if "about" in change["after"]} <= {"container new"}
    spread.apply(text)
    moved = text.replace("new: {host: beta", "new: {host: gamma")
    before = spread.addresses("new")
    plan = spread.apply(moved)
    assert spread.addresses("new") == before
    # What comes and goes with the container itself, on two hosts, and its entries on the third that lead elsewhere now.
    assert count_changes(plan) < 60, plan.out
    assert spread.unreachable([(one, address) for one in HOME for address in before]) == []
    spread.apply(TEXT)
