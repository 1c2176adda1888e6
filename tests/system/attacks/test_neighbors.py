"""Containers that send to addresses of the uplink's own prefix which nothing has: the host's neighbor table has room for others.

The table is the kernel's and one for all namespaces (1,024 entries, gc_thresh3), so each attack is short. Entries are counted
where they would stand: at the link of the host to which the prefix belongs.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace
from tests.harness.packets.build import IP4, IP6, ethernet, udp, unreachable
from tests.harness.worlds.overlay import LabWorld
from tests.system.attacks.test_containers import FAMILIES, OUTSIDE, bridge_of, mac_of, send
from tests.system.attacks.test_leaving import SYN, segment

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  side: {cidr: [10.188.0.0/24, "fd00:188::/64"], mode: routed}
containers:
  mallory: {networks: {front: auto}}
  bob: {networks: {front: auto}}
  open: {networks: {side: auto}}
  mob: {networks: {front: auto}, replicas: 10}
"""
BURST, RATE = 50, 20
"""What one container may make the host ask for at once, and in a second; of all containers:"""
ALL_BURST, ALL_RATE = 200, 50
ANSWERS_BURST, ANSWERS_RATE = 1000, 200
"""Of how many answers the host takes notice."""
ROUTER = ("192.0.2.1", "2001:db8::1")
PLACES = pytest.mark.parametrize(
    ("sender", "subnet", "link"),
    [("mallory", "front", "eth0"), ("open", "side", "theirs")],
    ids=["NAT, the uplink", "routed, another program's bridge"],
)


@pytest.fixture(scope="module")
def wide(spread: LabWorld) -> LabWorld:
    """Beside the lab's prefix the uplink has a wide one, and so has a bridge of another program: the file names neither."""
    alpha = spread.inside("lab.alpha")
    alpha.run("ip", "link", "add", "theirs", "type", "bridge")
    alpha.run("ip", "link", "add", "theirs-1", "type", "veth", "peer", "name", "theirs-2")
    for words in ("set theirs up", "set theirs-1 master theirs up", "set theirs-2 up"):
        alpha.run("ip", "link", *words.split())
    for link, number in (("eth0", 28), ("theirs", 29)):
        alpha.run("ip", "address", "add", f"172.{number}.0.1/16", "dev", link)
        alpha.run("ip", "address", "add", f"fd00:{number}::1/64", "dev", link, "nodad")
    return spread


@pytest.fixture(autouse=True)
def rested(wide: LabWorld) -> Iterator[None]:
    """Every test begins with full shares, and leaves no entry that waits."""
    alpha = wide.inside("lab.alpha")
    for name in ("known4", "known6", "askers", "openers"):
        alpha.run("nft", "flush", "set", "inet", f"netctl-{wide.name}", name)
    time.sleep(ALL_BURST / ALL_RATE)
    yield
    for link in ("eth0", "theirs"):
        alpha.run("ip", "neigh", "flush", "dev", link)


def unused(link: str, family: int, count: int, first: int = 0) -> list[str]:
    """Addresses that are on-link there, and that nothing has."""
    number = {"eth0": 28, "theirs": 29}[link]
    start = ip_address(f"fd00:{number}::1000" if family else f"172.{number}.16.0")
    return [str(start + first + place) for place in range(count)]


def frames_to(spread: LabWorld, sender: str, subnet: str, goals: list[str]) -> list[bytes]:
    family = int(":" in goals[0])
    own, router = mac_of(spread, sender), mac_of(spread, "lab.alpha", bridge_of(spread, subnet))
    source = spread.addresses(sender)[family]
    return [ethernet(own, router, IP6 if family else IP4, udp(source, goal, 9, 9, b"x")) for goal in goals]


def waiting(spread: LabWorld, link: str) -> int:
    """The entries at a host's link that wait for an answer; the kernel replaces those that wait no longer (neigh_forced_gc)."""
    shown = json.loads(spread.inside("lab.alpha").run("ip", "-j", "neigh", "show", "nud", "all", "dev", link).stdout)
    return sum("INCOMPLETE" in entry["state"] for entry in shown)


@FAMILIES
@PLACES
def test_unused_addresses_do_not_fill_the_neighbor_table(
    wide: LabWorld, rogue: Namespace, family: int, sender: str, subnet: str, link: str
) -> None:
    """A container sends to thousands of on-link addresses; the host and another container still reach a new neighbour."""
    frames = frames_to(wide, sender, subnet, unused(link, family, 1500))
    began = time.monotonic()
    for _ in range(2):
        send(wide, sender, *frames)
        assert BURST <= waiting(wide, link) <= BURST + RATE * (time.monotonic() - began + 1)
    rogue.run("ip", "address", "add", "2001:db8::99/64", "dev", "eth0", "nodad")
    goal = "2001:db8::99" if family else "192.0.2.99"
    assert not wide.unreachable([("lab.alpha", goal), ("bob", goal)] if sender == "mallory" else [("lab.alpha", goal)])


def test_addresses_are_not_collected_for_one_blow(wide: LabWorld) -> None:
    """A container that asks for a few more addresses each second, and for all so far again and again, has no more at once.

    Nor do ICMP errors about all these connections make the host ask for them at once.
    """
    senders, goals = ("mallory", "bob"), (unused("eth0", 0, 400), unused("eth0", 1, 400))
    for second in range(14):
        for family, sender in enumerate(senders):
            send(wide, sender, *frames_to(wide, sender, "front", goals[family][: BURST + RATE * second]))
        time.sleep(1)
    alpha = wide.inside("lab.alpha")
    assert waiting(wide, "eth0") <= 2 * (BURST + RATE * 8)
    alpha.run("ip", "neigh", "flush", "dev", "eth0")
    for name in ("known4", "known6"):
        alpha.run("nft", "flush", "set", "inet", f"netctl-{wide.name}", name)
    router = mac_of(wide, "lab.alpha", bridge_of(wide, "front"))
    for family, sender in enumerate(senders):
        own, source = mac_of(wide, sender), wide.addresses(sender)[family]
        errors = (unreachable(source, goal, udp(goal, source, 9, 9, b"x")) for goal in goals[family])
        send(wide, sender, *(ethernet(own, router, IP6 if family else IP4, error) for error in errors))
    assert waiting(wide, "eth0") <= 2 * (BURST + RATE * 2)


@FAMILIES
def test_many_containers_together_leave_room(wide: LabWorld, family: int) -> None:
    """Ten containers that do it together leave the host room for its own neighbors."""
    began = time.monotonic()
    for number in range(10):
        sender = f"mob-{number + 1}"
        send(wide, sender, *frames_to(wide, sender, "front", unused("eth0", family, 150, first=150 * number)))
    assert ALL_BURST <= waiting(wide, "eth0") <= ALL_BURST + ALL_RATE * (time.monotonic() - began + 1)


# --- what goes on ------------------------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("place", ["neighbour", "outside"])
def test_one_service_gets_any_number_of_connections(wide: LabWorld, rogue: Namespace, family: int, place: str) -> None:
    """A container opens 300 connections at once to a node of the uplink's prefix, or beyond the router, and all arrive."""
    rogue.run("ip", "address", "add", "2001:db8::99/64", "dev", "eth0", "nodad")
    goal = ("192.0.2.99", "2001:db8::99")[family] if place == "neighbour" else OUTSIDE[family]
    with wide.serving("rogue" if place == "neighbour" else "lab.outside", 7500):
        answers = connect_all(wide, "bob", [goal] * 300, 7500)
    assert answers == 300


@FAMILIES
def test_a_container_that_scans_still_reaches_the_world(wide: LabWorld, family: int) -> None:
    """Beyond the router a container has as many connections as before, while its share of new neighbors is used up."""
    frames = frames_to(wide, "mallory", "front", unused("eth0", family, 400))
    with wide.serving("lab.outside", 7502):
        assert [connect_all(wide, "mallory", [OUTSIDE[family]] * 2, 7502) for _ in range(2)] == [2, 2]
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:  # longer than the host's question for the router counts
            send(wide, "mallory", *frames)
        assert connect_all(wide, "mallory", [OUTSIDE[family]] * 300, 7502) == 300


@FAMILIES
def test_neighbors_that_answered_are_not_limited(wide: LabWorld, rogue: Namespace, family: int) -> None:
    """A container that talks to 150 nodes of the uplink's prefix meets them at its rate, and from then on all at once."""
    goals = unused("eth0", family, 150, first=0x2000)
    batch = "".join(f"address add {goal}/{64 if family else 16} dev eth0{' nodad' if family else ''}\n" for goal in goals)
    rogue.run("ip", "-batch", "-", text=batch)
    with wide.serving("rogue", 7501):
        assert connect_all(wide, "bob", goals, 7501) < 150
        deadline = time.monotonic() + 15
        while connect_all(wide, "bob", goals, 7501) < 150:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert connect_all(wide, "bob", goals, 7501) == 150


@FAMILIES
def test_answers_do_not_fill_the_set_of_known_addresses(wide: LabWorld, family: int) -> None:
    """A helper outside answers for a whole prefix, and refuses each connection, so none takes a share of connection tracking."""
    prefix = "2001:db8:fffe::/80" if family else "198.18.0.0/16"
    words = ("ip", "-6" if family else "-4", "route", "add")
    wide.inside("lab.outside").run(*words, "local", prefix, "dev", "lo")
    wide.inside("lab.router").run(*words, prefix, "via", OUTSIDE[family])
    wide.inside("lab.alpha").run(*words, prefix, "via", ROUTER[family])
    goals = [str(ip_network(prefix)[number]) for number in range(1, 4001)]
    assert not wide.unreachable([("mallory", goals[0])])
    own, router = mac_of(wide, "mallory"), mac_of(wide, "lab.alpha", bridge_of(wide, "front"))
    source, began = wide.addresses("mallory")[family], time.monotonic()
    opening = [ethernet(own, router, IP6 if family else IP4, segment(source, goal, SYN, b"")) for goal in goals]
    send(wide, "mallory", *opening)
    time.sleep(0.5)
    shown = wide.inside("lab.alpha").run("nft", "list", "set", "inet", f"netctl-{wide.name}", f"known{6 if family else 4}").stdout
    assert 500 <= shown.count("expires") <= ANSWERS_BURST + ANSWERS_RATE * (time.monotonic() - began + 1)


def connect_all(spread: LabWorld, member: str, goals: list[str], port: int) -> int:
    """How many connections are made, all begun at once, without a second try (the kernel makes one after 1 s)."""
    clients = []
    for goal in goals:
        client = spread.open(member, socket.AF_INET6 if ":" in goal else socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect_ex((goal, port))
        clients.append(client)
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLOUT)
    deadline, made = time.monotonic() + 0.9, 0
    while made < len(clients) and (left := deadline - time.monotonic()) > 0:
        for descriptor, event in poll.poll(left * 1000):
            poll.unregister(descriptor)
            made += event == select.POLLOUT
    for client in clients:
        client.close()
    return made


def test_what_packets_wrote_is_no_difference(wide: LabWorld) -> None:
    """The sets are full of what packets wrote, and netctl sees a firewall as the file says; its own probes pass."""
    send(wide, "mallory", *frames_to(wide, "mallory", "front", unused("eth0", 0, 100)))
    assert "172.28.16.0" in wide.inside("lab.alpha").run("nft", "list", "set", "inet", f"netctl-{wide.name}", "known4").stdout
    for address in ("172.28.0.1/16", "fd00:28::1/64"):  # in the lab, the uplink is netctl's
        wide.inside("lab.alpha").run("ip", "address", "delete", address, "dev", "eth0")
    done = run_netctl("diff", wide.file)
    assert done.status == 0, done.out
    wide.verify()
