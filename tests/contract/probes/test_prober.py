"""Probes on real namespaces: what answers, what does not, and what is said about it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reconciler.probes.model import FORBIDDEN, PUBLISHED, TO_OUTSIDE, WITH_HOST, ClaimKind, Opened
from reconciler.probes.run import Prober
from reconciler.state.foreign import TransportProtocol
from tests.harness.capabilities import require_capability
from tests.harness.worlds.probes import ProbeWorld, ask, claim_to, run_one, serve

pytestmark = pytest.mark.kernel

SERVER = """
import socket
tcp = socket.create_server(("0.0.0.0", 80))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 80))
print("up", flush=True)
while True:
    tcp.accept()
"""

GUARD = """
table inet guard {
    chain arriving {
        type filter hook prerouting priority -300
        iifname pn ip daddr 10.9.0.0/24 drop
        iifname pn ip6 daddr fd09::/64 drop
    }
}
"""


@pytest.mark.parametrize("address", ["10.9.0.3", "fd09::3", "10.9.0.1", "fd09::1", "10.8.0.2", "fd08::2"])
def test_ping_is_answered(world: ProbeWorld, prober: Prober, address: str) -> None:
    """A ping of either family to a neighbour, the gateway, and beyond it, is answered."""
    assert run_one(prober, ask("a", address)).finding.outcome == "answered"


@pytest.mark.parametrize("address", ["10.9.0.77", "fd09::77"])
def test_ping_to_an_unused_address_is_silent_or_refused(world: ProbeWorld, prober: Prober, address: str) -> None:
    """An address that no node has gives no answer, which is right where none is expected."""
    result = run_one(prober, ask("a", address, expected=False))
    assert result.finding.outcome in ("silent", "refused")
    assert result.passed


@pytest.mark.parametrize(("protocol", "family"), [("tcp", 4), ("tcp", 6), ("udp", 4), ("udp", 6), ("sctp", 4)])
def test_listener_answers_with_its_token(world: ProbeWorld, prober: Prober, protocol: TransportProtocol, family: int) -> None:
    """A listener of the prober answers a client in another namespace, by either family."""
    if protocol == "sctp":
        require_capability("sctp")
    address = "10.9.0.3" if family == 4 else "fd09::3"
    probe = ask("a", address, kind=protocol, port=80, listener=serve("b", protocol, 80, family))
    assert run_one(prober, probe).finding.outcome == "answered"


def test_wrong_server_is_noticed(world: ProbeWorld, prober: Prober) -> None:
    """An answer by another server than the one that was to answer is a failure, and says who answered."""
    expected = ask("a", "10.9.0.3", kind="tcp", port=80, listener=serve("c", "tcp", 80))
    other = ask("a", "10.9.0.3", kind="tcp", port=80, listener=serve("b", "tcp", 80))
    result = run_one(prober, expected, other)
    assert result.finding.outcome == "wrong"
    assert "answered by b" in result.fault


def test_server_that_is_there_is_used(world: ProbeWorld, prober: Prober) -> None:
    """Where a server of the container's own listens already, TCP asks it, and UDP says that it cannot be asked."""
    server = world.namespaces["b"].start("python3", "-c", SERVER)
    try:
        assert server.stdout
        assert server.stdout.readline() == "up\n"
        tcp = ask("a", "10.9.0.3", kind="tcp", port=80, listener=serve("b", "tcp", 80))
        udp = ask("a", "10.9.0.3", kind="udp", port=80, listener=serve("b", "udp", 80))
        opened = prober.start_listeners([serve("b", "tcp", 80), serve("b", "udp", 80)])
        assert len(opened.taken) == 2
        results = prober.run_clients([tcp, udp], opened)
        assert [result.finding.outcome for result in results] == ["answered", "skipped"]
    finally:
        server.kill()
        server.communicate()


def test_udp_answer_comes_from_the_address_that_was_asked(world: ProbeWorld, prober: Prober) -> None:
    """A container with two addresses answers from the one it was asked at, or the client would never hear of it."""
    world.namespaces["b"].run("ip", "address", "add", "10.9.0.200/24", "dev", "eth0")
    probe = ask("a", "10.9.0.200", kind="udp", port=53, listener=serve("b", "udp", 53))
    assert run_one(prober, probe).finding.outcome == "answered"


def test_closed_port_is_refused(world: ProbeWorld, prober: Prober) -> None:
    """A TCP port without a server is refused at once."""
    result = run_one(prober, ask("a", "10.9.0.3", kind="tcp", port=81, expected=False))
    assert result.finding.outcome == "refused"
    assert result.finding.elapsed_ms < 900


def test_mtu_is_found_to_be_too_small(world: ProbeWorld, prober: Prober) -> None:
    """A big packet with DF set that does not pass, beside a small one that does, is an MTU's fault."""
    world.namespaces["h"].run("ip", "link", "set", "pc", "mtu", "1300")
    big = ask("a", "10.8.0.2", size=1500, section=WITH_HOST)
    result = run_one(prober, big, ask("a", "10.8.0.2", section=WITH_HOST))
    assert not result.passed
    assert "MTU" in result.fault


def test_neighbour_past_the_routes(world: ProbeWorld, prober: Prober) -> None:
    """A neighbour without a route gets an answer by way of the host, and none where the host guards its containers."""
    for address, via in (("10.9.0.2", "10.7.0.1"), ("fd09::2", "fd07::1")):
        back = world.namespaces["n"].run("ip", "route", "get", address, check=False)
        assert back.returncode != 0  # no route of its own
        probe = ask("n", address, expected=False, section=FORBIDDEN, via=via)
        result = run_one(prober, probe)
        assert result.finding.outcome == "answered"
        assert "guard" in result.fault
    world.namespaces["h"].run("nft", "-f", "-", text=GUARD)
    for address, via in (("10.9.0.2", "10.7.0.1"), ("fd09::2", "fd07::1")):
        assert run_one(prober, ask("n", address, expected=False, section=FORBIDDEN, via=via)).finding.outcome == "silent"


@pytest.mark.parametrize(
    ("kind", "claim", "heard_at", "rule"),
    [
        ("arp", "10.9.0.99", "", "arp saddr ip 10.9.0.99 drop"),
        ("ndp", "fd09::99", "", "ip6 saddr fd09::99 drop"),
        ("advertisement", "fd09::99", "br0", "icmpv6 type nd-neighbor-advert @th,64,128 0xfd090000000000000000000000000099 drop"),
    ],
    ids=["arp", "ndp", "advertisement"],
)
def test_a_spoofed_address(world: ProbeWorld, prober: Prober, kind: ClaimKind, claim: str, heard_at: str, rule: str) -> None:
    """A claim to another's address gets through where nothing in the bridge looks who sends, and dies where a filter does."""
    gateway = "fd09::1" if ":" in claim else "10.9.0.1"
    probe = claim_to(gateway, kind, claim, heard_at)
    result = run_one(prober, probe)
    assert result.finding.outcome == "answered"
    assert "bridge table" in result.fault
    chain = f"type filter hook prerouting priority -300; {rule};"
    world.namespaces["h"].run("nft", "-f", "-", text=f"table bridge t {{ chain c {{ {chain} }}\n }}")
    assert run_one(prober, probe).passed
    assert run_one(prober, claim_to(gateway, kind, claim, heard_at, "eth7")).finding.outcome == "unsent"


def test_faults_name_the_hop(world: ProbeWorld, prober: Prober) -> None:
    """A missing default route, a missing address and a missing namespace are each named."""
    world.namespaces["a"].run("ip", "route", "delete", "default")
    assert "no IPv4 default route" in run_one(prober, ask("a", "203.0.113.10", section=TO_OUTSIDE)).fault
    world.namespaces["b"].run("ip", "-4", "address", "flush", "dev", "eth0")
    assert "b has no IPv4 address" in run_one(prober, ask("b", "10.9.0.2")).fault
    world.namespaces["c"].run("ip", "link", "delete", "eth0")
    assert "not connected" in run_one(prober, ask("c", "10.9.0.2")).fault
    published = ask("a", "10.9.0.1", kind="tcp", port=8080, section=WITH_HOST, listener=serve("b", "tcp", 80))
    assert not run_one(prober, published).passed


def test_missing_publication_is_named(world: ProbeWorld, prober: Prober) -> None:
    """A refused published port says that nothing on the host translates it."""
    probe = ask("n", "10.7.0.1", kind="tcp", port=8080, section=PUBLISHED, listener=serve("b", "tcp", 80))
    assert "nothing translates that port" in run_one(prober, probe).fault


def test_negative_probes_cost_their_timeout_once(world: ProbeWorld, prober: Prober) -> None:
    """Fifty probes that get no answer run together: none ends later than the timeout of one, by its own clock."""
    probes = [ask("a", f"203.0.113.{number}", expected=False) for number in range(50)]
    world.namespaces["h"].run("ip", "route", "add", "blackhole", "203.0.113.0/24")
    results = prober.run_clients(probes, Opened())
    assert {result.finding.outcome for result in results} <= {"silent", "refused"}
    assert max(result.finding.elapsed_ms for result in results) < 5000


def test_caller_stays_where_it_is(world: ProbeWorld, prober: Prober) -> None:
    """The worker's own thread is in its own namespace afterwards, and the listeners' thread has ended."""
    before = Path("/proc/thread-self/ns/net").stat().st_ino
    run_one(prober, ask("a", "10.9.0.3", kind="tcp", port=80, listener=serve("b", "tcp", 80)))
    assert Path("/proc/thread-self/ns/net").stat().st_ino == before
    assert not [thread for thread in threading.enumerate() if thread.name == "listeners"]
