"""Frames made by hand, on a plain bridge and a plain host: each door is open there, and a rule or an option closes it."""

from __future__ import annotations

import json
import socket
from functools import partial

import pytest

from reconciler.kernel.foreign_link import ProbeLink
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.probes.frames import ADVERTISED, DETOUR, GROUP, GROUPS, STRAY, Connection, datagram
from reconciler.probes.model import FORBIDDEN, FOREIGN_NETNS, FramedPacketProbe, FrameKind, FrameProbe, Probe, SegmentKind
from reconciler.probes.run import Prober
from reconciler.probes.spoofing import ALL_NODES
from reconciler.state.foreign_ends import foreign_ends
from reconciler.state.ref import HOST
from reconciler.verify.view import Origin
from tests.harness.worlds.probes import ProbeWorld, ask, claim_to, origin, run_one, serve

pytestmark = pytest.mark.kernel

LOCALHOST = """
table ip door {
    chain arriving {
        type nat hook prerouting priority -100
        ip daddr 127.0.0.1 meta l4proto { tcp, udp } th dport 5432 dnat to 10.9.0.2:80
    }
}
"""
CLOSED = (
    "table inet closed { chain arriving { type filter hook prerouting priority -400; iif != lo ip daddr 127.0.0.0/8 drop; }\n }"
)
AT_PORT = """
table netdev closed {
    chain arriving {
        type filter hook ingress device "pa" priority 0
        ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 drop
    }
}
"""


FIRST_LOST = """
table netdev lossy {
    chain arriving {
        type filter hook ingress device "PORT" priority 0
        ether type ip tcp dport 5432 numgen inc mod 100 0 drop
        ether daddr 01:80:c2:00:00:00/44 numgen inc mod 100 < FRAMES drop
        ether type arp numgen inc mod 100 0 drop
    }
}
"""


def first_lost(port: str) -> str:
    """A table that drops what a probe sends at first at a port."""
    return FIRST_LOST.replace("PORT", port).replace("FRAMES", str(2 * len(GROUPS)))


def by_hand(kind: FrameKind, address: str, *, heard_in: str = HOST, claim: str = "", heard_at: str = "", mac: str = "") -> Probe:
    """From a, on the bridge."""
    return FrameProbe(
        **origin("a"), target="target", section=FORBIDDEN, kind=kind, address=address, expected=False, why="",
        interface="eth0", heard_in=heard_in, claim=claim, heard_at=heard_at, mac=mac,
    )  # fmt: skip


def mac_of(world: ProbeWorld, name: str, dev: str) -> str:
    return world.namespaces[name].run("ip", "-br", "link", "show", dev).stdout.split()[2]


def to_localhost(kind: SegmentKind, from_there: Origin, *, interface: str, claim: str, mac: str, via: str) -> Probe:
    """To a port that is translated to one of a container."""
    return FramedPacketProbe(
        **from_there, target="target", section=FORBIDDEN, kind=kind, address="127.0.0.1", expected=False, why="",
        interface=interface, claim=claim, mac=mac, port=5432, listener=serve("a", kind, 80), via=via,
    )  # fmt: skip


def from_neighbour(world: ProbeWorld, kind: SegmentKind) -> Probe:
    """To localhost, from the neighbour."""
    mac = mac_of(world, "h", "pn")
    return to_localhost(kind, origin("n"), interface="eth0", claim="10.7.0.2", mac=mac, via="10.7.0.1")


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_localhost_from_a_neighbour(world: ProbeWorld, prober: Prober, kind: SegmentKind) -> None:
    """A port that is translated for all that comes in is open to a neighbour's frames, and closed by one rule for 127.0.0.0/8."""
    world.namespaces["h"].run("nft", "-f", "-", text=LOCALHOST)
    probe = from_neighbour(world, kind)
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "127.0.0.0/8" in result.fault
    assert not world.namespaces["a"].run("ss", "-Htn", "state", "syn-recv").stdout, "a connection is left half open"
    world.namespaces["h"].run("nft", "-f", "-", text=CLOSED)
    assert run_one(prober, probe).finding.outcome == "silent"


def test_localhost_from_a_foreign_link(world: ProbeWorld, prober: Prober) -> None:
    """The same from a link that is made for the probe. Nothing of it is left afterwards, and while it is there it has no mark."""
    host = world.namespaces["h"]
    host.run("nft", "-f", "-", text=LOCALHOST)
    before = host.run("ip", "address").stdout + host.run("ip", "route", "show", "table", "all").stdout
    ends = foreign_ends(world.topology)
    far, near = (cidrs[0].partition("/")[0] for cidrs in (ends.remote_cidrs, ends.cidrs))
    start = origin("h", FOREIGN_NETNS)
    probe = to_localhost("tcp", start, interface=ends.remote_name, claim=far, mac=ends.mac, via=near)
    assert run_one(prober, probe).finding.outcome == "answered"
    host.run("nft", "-f", "-", text=CLOSED)
    assert run_one(prober, probe).finding.outcome == "silent"
    assert host.run("ip", "address").stdout + host.run("ip", "route", "show", "table", "all").stdout == before


def test_a_foreign_link_sends_at_once(world: ProbeWorld) -> None:
    """No frame is lost in the moment after the link was made, when the remote end has no queue yet; tried twenty times."""
    host, ends = str(world.namespaces["h"].path), foreign_ends(world.topology)
    for _ in range(20):
        link = ProbeLink(host, ends)
        try:
            run_in_thread(partial(send_frames, link, ends.remote_name))
            (shown,) = json.loads(world.namespaces["h"].run("ip", "-j", "-s", "link", "show", ends.name).stdout)
            assert shown["stats64"]["rx"]["packets"] >= 3
        finally:
            link.close()


def send_frames(link: ProbeLink, name: str) -> None:
    """Three frames of no protocol, to an address that no node has."""
    enter(link.path)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((name, 0))
        for _ in range(3):
            sender.send(b"\x02" * 12 + b"\x88\xb5" + bytes(46))


@pytest.mark.parametrize("kind", ["tcp", GROUP, "arp"])
def test_a_frame_that_is_lost_proves_nothing(world: ProbeWorld, prober: Prober, kind: str) -> None:
    """A door that is open is reported as open, though the first frames to it are lost."""
    world.namespaces["h"].run("nft", "-f", "-", text=LOCALHOST + first_lost("pn" if kind == "tcp" else "pa"))
    probe = {
        "tcp": from_neighbour(world, "tcp"),
        GROUP: by_hand(GROUP, "10.9.0.1", claim="198.51.100.77"),
        "arp": claim_to("10.9.0.1", "arp", "10.9.0.77"),
    }[kind]
    assert run_one(prober, probe).finding.outcome == "answered"


@pytest.mark.parametrize("family", [4, 6])
def test_a_container_from_a_foreign_link(world: ProbeWorld, prober: Prober, family: int) -> None:
    """A host that forwards what comes from any link leads a foreign one to a container; its rule against that is noticed."""
    near = foreign_ends(world.topology).cidrs[0 if family == 4 else 1].partition("/")[0]
    probe = ask("h", "10.9.0.2" if family == 4 else "fd09::2", expected=False, section=FORBIDDEN, via=near, netns=FOREIGN_NETNS)
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "another link" in result.fault
    rules = "iifname n-* ip daddr 10.9.0.0/24 drop; iifname n-* ip6 daddr fd09::/64 drop;"
    chain = f"type filter hook prerouting priority -300; {rules}"
    world.namespaces["h"].run("nft", "-f", "-", text=f"table inet guard {{ chain c {{ {chain} }}\n }}")
    assert run_one(prober, probe).finding.outcome == "silent"


def test_a_link_that_cannot_be_made(world: ProbeWorld, prober: Prober) -> None:
    """Where the host holds a link of that name, the probes from there are not asked, and the reason is said."""
    ends = foreign_ends(world.topology)
    world.namespaces["h"].run("ip", "link", "add", ends.name, "type", "veth", "peer", "name", "other")
    probe = ask("h", "10.9.0.2", expected=False, section=FORBIDDEN, via="169.254.64.1", netns=FOREIGN_NETNS)
    result = run_one(prober, probe)
    assert result.skipped
    assert "File exists" in result.finding.detail
    assert "other" in world.namespaces["h"].run("ip", "-br", "link").stdout  # and that one is left alone


def test_frames_to_link_local_groups(world: ProbeWorld, prober: Prober) -> None:
    """They reach the host past the bridge; kept from its stack, the bridge still learns; a filter at the port ends it."""
    host = world.namespaces["h"]
    probe = by_hand(GROUP, "10.9.0.1", claim="198.51.100.77")
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "ingress" in result.fault
    host.run("nft", "-f", "-", text="table inet s { chain c { type filter hook prerouting priority -300; iifname pa drop; }\n }")
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "learned" in result.finding.detail
    host.run("nft", "-f", "-", text=AT_PORT)
    assert run_one(prober, probe).finding.outcome == "silent"


def test_router_advertisements(world: ProbeWorld, prober: Prober) -> None:
    """One reaches the host and the next container; with the ordinary frame dropped, the host hears it by a group still."""
    at_host, at_next = by_hand(ADVERTISED, ALL_NODES), by_hand(ADVERTISED, ALL_NODES, heard_in="container:b")
    assert [r.finding.outcome for r in (run_one(prober, at_host), run_one(prober, at_next))] == ["answered", "answered"]
    host = world.namespaces["h"]
    rule = "icmpv6 type nd-router-advert drop;"
    host.run("nft", "-f", "-", text=f"table bridge t {{ chain c {{ type filter hook prerouting priority -300; {rule} }}\n }}")
    assert [r.finding.outcome for r in (run_one(prober, at_host), run_one(prober, at_next))] == ["answered", "silent"]
    host.run("nft", "-f", "-", text=AT_PORT)
    assert run_one(prober, at_host).finding.outcome == "silent"
    routes = world.namespaces["b"].run("ip", "-6", "route", "show", "default").stdout
    assert "fe80" not in routes, "an advertisement of a probe made a router of its sender"


@pytest.mark.parametrize(("address", "own"), [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")])
def test_frames_for_an_unknown_address(world: ProbeWorld, prober: Prober, address: str, own: str) -> None:
    """A plain bridge floods them to the next container; with flooding off at its port, it gets none."""
    probe = by_hand(STRAY, address, claim=own, heard_in="container:b", heard_at="eth0")
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "flood" in result.fault
    world.namespaces["h"].run("bridge", "link", "set", "dev", "pb", "flood", "off")
    assert run_one(prober, probe).finding.outcome == "silent"


@pytest.mark.parametrize(("address", "own"), [("10.9.0.3", "10.9.0.2"), ("fd09::3", "fd09::2")])
def test_isolated_ports_by_their_gateway(world: ProbeWorld, prober: Prober, address: str, own: str) -> None:
    """A host that routes leads one isolated port to another; a rule against it is noticed."""
    host = world.namespaces["h"]
    for port in ("pa", "pb"):
        host.run("bridge", "link", "set", "dev", port, "isolated", "on")
    probe = by_hand(DETOUR, address, claim=own, mac=mac_of(world, "h", "br0"), heard_in="container:b")
    assert run_one(prober, probe).finding.outcome == "answered"
    rule = "iifname br0 oifname br0 drop;"
    host.run("nft", "-f", "-", text=f"table inet t {{ chain c {{ type filter hook forward priority 0; {rule} }}\n }}")
    assert run_one(prober, probe).finding.outcome == "silent"


@pytest.mark.parametrize(("own", "address"), [("10.0.0.1", "127.0.0.1"), ("fd00::1", "fd00::2")])
def test_an_answer_is_known_by_address_and_ports(own: str, address: str) -> None:
    """The reply of the very port that was asked is one; from another port, another address, or to another port, it is none."""
    asked = Connection(17, own, 4000, address, 53)
    assert asked.is_answer(datagram(address, 53, own, 4000, b"x"))
    assert not asked.is_answer(datagram(address, 54, own, 4000, b"x"))
    assert not asked.is_answer(datagram(address, 53, own, 4001, b"x"))
    assert not asked.is_answer(datagram(own, 53, own, 4000, b"x"))
    assert not any(asked.is_answer(datagram(address, 53, own, 4000, b"x")[:cut]) for cut in range(1, 24))
