"""Subnets over hosts by plain routes: what containers see, who is believed on the underlay, and what is refused."""

from __future__ import annotations

import socket
from contextlib import closing
from itertools import permutations

import pytest

from tests.harness.netns import Namespace
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
  gamma: {connect: lab, address: [192.0.2.13, "2001:db8::13"]}
subnets:
  front: {cidr: [10.174.0.0/24, "fd00:174::/64"], overlay: routes}
  back: {cidr: 10.175.0.0/24, mode: isolated, overlay: routes}
  solo: {cidr: 10.176.0.0/24}
containers:
  web: {host: alpha, networks: {front: auto}}
  api: {host: beta, networks: {front: auto, back: auto}, ports: [{listen: 9090, to: 90, on: [alpha, beta, gamma]}]}
  db: {host: gamma, networks: {front: auto, back: auto}}
  job: {host: alpha, networks: {solo: auto}}
policies:
  - {allow: job, to: db, ports: [80/tcp]}
"""
AWAY = TEXT.replace('[192.0.2.13, "2001:db8::13"]', '[198.51.100.13, "2001:db8:1::13"]')
"""With gamma behind the router."""
HOSTS = {"alpha": "192.0.2.11", "beta": "192.0.2.12", "gamma": "192.0.2.13"}
HOME = {"web": "alpha", "api": "beta", "db": "gamma"}


def test_all_reach_all_with_the_whole_mtu(spread: LabWorld) -> None:
    """Containers each other, with packets as large as the underlay's; hosts all containers, and containers all hosts."""
    bridge = f"b-{spread.name}-front"
    between = [(one, address) for one, two in permutations(HOME, 2) for address in spread.addresses(two)]
    assert spread.unreachable(between, size=1500) == []
    pairs = [(f"lab.{host}", address) for host in HOSTS for two in HOME for address in spread.addresses(two)]
    pairs += [(one, own) for one in HOME for host in HOSTS for own in spread.addresses(f"lab.{host}", bridge)]
    pairs += [(one, spread.addresses(two, "eth1")[0]) for one, two in permutations(("api", "db"))]
    assert spread.unreachable(pairs) == []
    spread.verify()


def test_containers_see_one_segment(spread: LabWorld) -> None:
    """They ask for each other by ARP and NDP, and are answered by their own bridge, at once."""
    bridge = f"b-{spread.name}-front"
    own = spread.inside("lab.alpha").run("ip", "-o", "link", "show", "dev", bridge).stdout.split("link/ether ")[1].split()[0]
    web = spread.inside("web")
    web.run("ip", "neighbor", "flush", "dev", "eth0", "nud", "reachable", "nud", "stale", "nud", "delay")
    for address in spread.addresses("api"):
        shown = web.run("ping", "-c1", "-W1", address).stdout
        # proxy_delay is up to 0.8 s unless it is 0.
        assert float(shown.rpartition(" = ")[2].split("/")[2]) < 400
        assert f"lladdr {own}" in web.run("ip", "neighbor", "show", address).stdout


def test_published_ports_and_policies(spread: LabWorld) -> None:
    """A port is published on every host, the way back included; a policy lets a container from a subnet of one host only ask."""
    db, job = spread.addresses("db")[0], spread.addresses("job")[0]
    with spread.serving("api", 90), spread.serving("db", 80), spread.serving("db", 81):
        for address in (*HOSTS.values(), "2001:db8::11", "2001:db8::13"):
            for asker in ("lab.outside", "lab.alpha", "lab.beta", "web", "api", "db"):
                assert spread.ask(asker, address, 9090).startswith("api "), (asker, address)
        assert spread.ask("job", db, 80) == f"db {job}"
        assert spread.ask("job", db, 81) == ""


def test_a_rogue_node_cannot_speak_as_a_container(spread: LabWorld, rogue: Namespace) -> None:
    """What comes from the underlay as from a container's address is believed when its host sends it, by its hardware address."""
    api, web = spread.addresses("api")[0], spread.addresses("web")[0]
    rogue.run("ip", "address", "add", f"{api}/32", "dev", "lo")
    rogue.run("ip", "route", "add", web, "via", "192.0.2.11", "src", api)
    with (
        closing(spread.open("web", socket.AF_INET, socket.SOCK_DGRAM)) as victim,
        closing(spread.open("rogue", socket.AF_INET, socket.SOCK_DGRAM)) as liar,
        closing(spread.open("api", socket.AF_INET, socket.SOCK_DGRAM)) as honest,
    ):
        victim.bind(("", 7777))
        liar.bind((api, 0))
        liar.sendto(b"a lie", (web, 7777))
        assert not received(victim, b"a lie", QUIET_S)
        honest.bind((api, 0))
        honest.sendto(b"the truth", (web, 7777))
        assert received(victim, b"the truth", PATIENCE_S)


def test_refused_where_hosts_share_no_link(spread: LabWorld) -> None:
    """With the reason, the line of the file, and what to write; nothing is changed."""
    done = spread.refused(AWAY)
    assert done.status == 2
    assert "alpha (192.0.2.11) and gamma (198.51.100.13) share no link" in done.err
    assert "write `overlay: vxlan` or `auto`" in done.err
    spread.file.write_text(TEXT.replace("NAME", spread.name))
    assert spread.unreachable([("web", spread.addresses("api")[0])]) == []


def test_auto_takes_routes_between_neighbours_and_vxlan_beyond(spread: LabWorld) -> None:
    """With gamma behind a router, `auto` leads to it by VXLAN and keeps routes between the others; all reach all."""
    spread.apply(AWAY.replace("overlay: routes", "overlay: auto"))
    alpha = spread.inside("lab.alpha")
    routes = alpha.run("ip", "route", "show", "dev", "eth0").stdout
    assert spread.addresses("api")[0] in routes
    assert spread.addresses("db")[0] not in routes
    between = [(one, address) for one, two in permutations(HOME, 2) for address in spread.addresses(two)]
    assert spread.unreachable(between, size=1450) == []
    spread.verify()
