"""The fast path of subnets over several hosts: what takes it, what must not, and that it is kept whole."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import permutations

import pytest

from tests.harness.netctl import run_netctl
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received

pytestmark = [pytest.mark.kernel, pytest.mark.long]

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
subnets:
  routed: {cidr: [10.184.0.0/24, "fd00:184::/64"], overlay: routes}
  tunnel: {cidr: [10.185.0.0/24, "fd00:185::/64"], overlay: vxlan}
containers:
  r1: {host: alpha, networks: {routed: auto}}
  r2: {host: beta, networks: {routed: auto}}
  t1: {host: alpha, networks: {tunnel: auto}}
  t2: {host: beta, networks: {tunnel: auto}}
  apart: {host: alpha, networks: {tunnel: {isolated: true}}}
"""
COUNTER = """
table inet probe {
    chain forwarded {
        type filter hook forward priority -400
        meta l4proto tcp counter
    }
    chain handed_up {
        type filter hook prerouting priority -400
        iifname "b-*" meta l4proto tcp counter
    }
}
"""


@contextmanager
def counting(spread: LabWorld, host: str) -> Iterator[list[int]]:
    """How many TCP packets the host forwarded, and its bridges handed up, filled in at the end."""
    where, seen = spread.inside(f"lab.{host}"), list[int]()
    where.run("nft", "-f", "-", text=COUNTER)
    try:
        yield seen
        shown = where.run("nft", "list", "table", "inet", "probe").stdout
        seen += [int(number) for number in re.findall(r"counter packets (\d+)", shown)]
    finally:
        where.run("nft", "delete", "table", "inet", "probe")


@pytest.mark.parametrize(("one", "two"), [("r1", "r2"), ("t1", "t2")])
@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_connections_within_a_subnet_pass_no_firewall_of_ip(spread: LabWorld, one: str, two: str, family: int) -> None:
    """Neither host forwards a packet of theirs, nor does a bridge show one; without the table both hosts pass them as well."""
    address = spread.addresses(two)[family]
    with spread.serving(two, 80):
        with counting(spread, "alpha") as alpha, counting(spread, "beta") as beta:
            assert spread.ask(one, address, 80).startswith(two)
        assert (alpha, beta) == ([0, 0], [0, 0])
        subnet = "routed" if one == "r1" else "tunnel"
        spread.inside("lab.alpha").run("nft", "delete", "table", "netdev", f"netctl-{spread.name}.{subnet}")
        assert spread.ask(one, address, 80).startswith(two)
    assert run_netctl("apply", spread.file).status == 0
    assert run_netctl("diff", spread.file).status == 0


@pytest.mark.parametrize(("one", "two"), [("r1", "r2"), ("t1", "t2")])
def test_no_container_spoofs_an_address(spread: LabWorld, one: str, two: str) -> None:
    """A container that sends from an address that is not its own is not heard on the other host."""
    own, target = spread.addresses(one)[0], spread.addresses(two)[0]
    borrowed = own.rpartition(".")[0] + ".77"
    spread.inside(one).run("ip", "address", "add", f"{borrowed}/32", "dev", "eth0")
    try:
        with (
            closing(spread.open(two, socket.AF_INET, socket.SOCK_DGRAM)) as server,
            closing(spread.open(one, socket.AF_INET, socket.SOCK_DGRAM)) as client,
            closing(spread.open(one, socket.AF_INET, socket.SOCK_DGRAM)) as honest,
        ):
            server.bind(("", 7777))
            client.bind((borrowed, 0))
            client.sendto(b"a lie", (target, 7777))
            assert not received(server, b"a lie", QUIET_S)
            honest.sendto(b"the truth", (target, 7777))
            assert received(server, b"the truth", PATIENCE_S)
    finally:
        spread.inside(one).run("ip", "address", "delete", f"{borrowed}/32", "dev", "eth0")


def test_a_dhcp_server_is_no_more_heard_than_before(spread: LabWorld) -> None:
    """What comes from the port of a DHCP server goes the slow way, where the bridge drops it."""
    target = spread.addresses("t2")[0]
    with (
        closing(spread.open("t2", socket.AF_INET, socket.SOCK_DGRAM)) as victim,
        closing(spread.open("t1", socket.AF_INET, socket.SOCK_DGRAM)) as server,
    ):
        victim.bind(("", 68))
        server.bind(("", 67))
        server.sendto(b"an offer", (target, 68))
        assert not received(victim, b"an offer", QUIET_S)


def test_isolated_ports_and_other_subnets_stay_out(spread: LabWorld) -> None:
    """An isolated port has no hook; and no container gets into another subnet by naming the hardware address of one there."""
    ports = spread.inside("lab.alpha").run("nft", "list", "table", "netdev", f"netctl-{spread.name}.tunnel").stdout
    assert ports.count("goto leaving\n") == 1
    assert spread.unreachable([("apart", spread.addresses("t2")[0])]) == []
    outsider, target = spread.inside("r1"), spread.addresses("t2")[0]
    mac = spread.inside("t2").run("ip", "-br", "link", "show", "eth0").stdout.split()[2]
    outsider.run("ip", "route", "add", f"{target}/32", "dev", "eth0")
    outsider.run("ip", "neighbor", "replace", target, "lladdr", mac, "dev", "eth0")
    try:
        assert spread.unreachable([("r1", target)]) == [("r1", target)]
    finally:
        outsider.run("ip", "route", "delete", f"{target}/32", "dev", "eth0")
        outsider.run("ip", "neighbor", "delete", target, "dev", "eth0")


def test_what_is_broken_is_seen_and_mended(spread: LabWorld) -> None:
    """A hook that is gone or leads elsewhere, a rule that was added, links that were made away with."""
    alpha, table = spread.inside("lab.alpha"), f"netctl-{spread.name}"
    routed, tunnel = f"netdev {table}.routed", f"netdev {table}.tunnel"
    vxlan = alpha.run("nft", "list", "map", "netdev", f"{table}.tunnel", "to_tunnel").stdout.split('"')[1]
    port = re.findall(r'ingress device "(v-[^"]+)"', alpha.run("nft", "list", "table", "netdev", f"{table}.routed").stdout)[0]
    breaks = (
        ["nft", f"flush chain {routed} at-eth0; delete chain {routed} at-eth0"],
        ["nft", f"flush chain {routed} at-eth0"],
        ["nft", f"insert rule {tunnel} leaving accept"],
        ["nft", f'add chain {routed} mine {{ type filter hook ingress device "eth0" priority 1; }}'],
        ["nft", f'add chain {routed} at-x {{ type filter hook ingress device "eth0" priority 1; }}'],
        ["nft", f"flush set {tunnel} behind"],
        ["ip", "link", "delete", vxlan],
        ["ip", "link", "delete", port],
    )
    both_ways = [*permutations(("r1", "r2")), *permutations(("t1", "t2"))]
    pairs = [(one, address) for one, two in both_ways for address in spread.addresses(two)]
    for words in breaks:
        alpha.run(*words)
        done = run_netctl("apply", spread.file)
        assert (done.status, "Nothing to do" in done.out) == (0, False), words
        assert run_netctl("diff", spread.file).status == 0, words
        assert spread.unreachable(pairs) == [], words


def test_one_more_container_is_one_element_elsewhere(spread: LabWorld) -> None:
    """On the other host, and nothing of any other container there."""
    text = TEXT.replace("  apart:", "  r3: {host: alpha, networks: {tunnel: {address: auto, ipv6: false}}}\n  apart:")
    spread.file.write_text(text.replace("NAME", spread.name))
    hosts = {one["host"]: one.get("changes", []) for one in json.loads(run_netctl("diff", "--json", spread.file).out)["hosts"]}
    names = [change["ref"]["name"] for change in hosts["beta"] if "netdev" in change["ref"]["name"]]
    assert [name.rpartition(" ")[0] for name in names] == ["netdev.tunnel behind"]
    spread.apply(text)
    spread.apply(TEXT)
