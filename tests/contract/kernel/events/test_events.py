"""Events on the real kernel: every kind of change is a hint, and a neighbor that the kernel finds by itself is none."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.kernel.events.commands import ProcessEvents
from reconciler.kernel.events.engines import EngineEvents
from reconciler.kernel.events.files import open_file_events, open_setting_events
from reconciler.kernel.events.hints import Hints
from reconciler.kernel.events.netlink import open_firewall_events, open_route_events
from reconciler.kernel.events.source import Cause, Source, SourceEndedError
from tests.harness.netns import Namespace

WAIT_S = 2.0

CHANGES = {
    "a link": "ip link add x0 type veth peer name x1",
    "an address": "ip address add 10.9.0.1/24 dev eth0",
    "a route": "ip route add 10.8.0.0/24 dev lo",
    "a permanent neighbor": "ip neighbor add 10.9.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
    "a deleted neighbor": "ip neighbor delete 10.9.0.9 dev eth0",
    "a queue": "tc qdisc replace dev eth0 root pfifo limit 9",
    "a rule": "ip rule add from 10.7.0.0/24 table 77",
    "a setting of a link": "echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding",
}


@pytest.fixture
def pair(make_namespace: Callable[..., Namespace]) -> tuple[Namespace, Namespace]:
    """A host and a container: eth0 of the one leads to eth0 of the other."""
    host, inside = make_namespace("host"), make_namespace("inside")
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", inside.name)
    host.run("ip", "link", "set", "eth0", "up")
    inside.run("ip", "link", "set", "eth0", "up")
    return host, inside


@pytest.fixture
def opened() -> Iterator[list[Source]]:
    sources: list[Source] = []
    yield sources
    for source in sources:
        source.close()


def settle(source: Source) -> None:
    """Take what the kernel still reports of the links that have just come."""
    quiet_s = time.monotonic() + 0.3
    while time.monotonic() < quiet_s:
        if source.drain():
            quiet_s = time.monotonic() + 0.3
        time.sleep(0.02)


def is_hinted(source: Source) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if source.drain():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.kernel
def test_every_change_is_a_hint_also_inside_a_container(pair: tuple[Namespace, Namespace], opened: list[Source]) -> None:
    """One socket in the host's namespace reports changes there and in the namespace of a container."""
    source = open_route_events(str(pair[0].path))
    opened.append(source)
    for namespace in pair:
        for what, command in CHANGES.items():
            settle(source)
            namespace.run("sh", "-c", command)
            assert is_hinted(source), f"{what} in {namespace.name}"


@pytest.mark.kernel
def test_neighbors_that_the_kernel_finds_are_no_hint(pair: tuple[Namespace, Namespace], opened: list[Source]) -> None:
    """A host that talks to its neighbours gives no hint: such entries come and go all the time."""
    host, inside = pair
    host.run("ip", "address", "add", "10.9.0.1/24", "dev", "eth0")
    inside.run("ip", "address", "add", "10.9.0.2/24", "dev", "eth0")
    source = open_route_events(str(host.path))
    opened.append(source)
    settle(source)
    host.run("ping", "-c1", "-W2", "10.9.0.2")
    assert "10.9.0.2" in host.run("ip", "neighbor", "show").stdout
    assert not source.drain()


@pytest.mark.kernel
def test_a_full_buffer_is_a_hint(pair: tuple[Namespace, Namespace], opened: list[Source]) -> None:
    """Notifications that the kernel drops (ENOBUFS) are a hint, and the socket goes on."""
    source = open_route_events(str(pair[0].path))
    opened.append(source)
    settle(source)
    source._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    for number in range(20):
        pair[0].run("ip", "address", "add", f"10.9.1.{number + 1}/32", "dev", "eth0")
    assert is_hinted(source)
    settle(source)
    pair[0].run("ip", "address", "add", "10.9.2.1/32", "dev", "eth0")
    assert is_hinted(source)


@pytest.mark.kernel
def test_nftables_is_a_hint(namespace: Namespace, opened: list[Source]) -> None:
    """A table that comes or goes is a hint."""
    source = open_firewall_events(str(namespace.path))
    opened.append(source)
    for command in ("nft add table inet x", "nft flush ruleset"):
        namespace.run("sh", "-c", command)
        assert is_hinted(source), command
        settle(source)


@pytest.mark.kernel
def test_a_setting_that_is_written_is_a_hint(namespace: Namespace, opened: list[Source]) -> None:
    """A write to a watched setting is a hint; a reading, and another setting beside it, are none."""
    source = open_setting_events({str(namespace.path): ["net.ipv4.conf.lo.route_localnet", "net.ipv4.ip_forward"]})
    opened.append(source)
    namespace.run("cat", "/proc/sys/net/ipv4/conf/lo/route_localnet")
    namespace.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/lo/arp_ignore")
    assert not source.drain()
    for name in ("conf/lo/route_localnet", "ip_forward"):
        namespace.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv4/{name}")
        assert is_hinted(source), name


def test_a_file_that_is_replaced_is_a_hint(tmp_path: Path, opened: list[Source]) -> None:
    """A file that is written, replaced as editors do, and reached by a link gives hints; another file beside it none."""
    real, linked = tmp_path / "real", tmp_path / "etc"
    real.mkdir()
    linked.mkdir()
    (real / "a.yaml").write_text("1")
    (linked / "topology.yaml").symlink_to(real / "a.yaml")
    source = open_file_events(str(linked / "topology.yaml"))
    opened.append(source)
    (real / "other").write_text("x")
    assert not source.drain()
    (real / "a.yaml").write_text("2")
    assert source.drain()
    (real / ".new").write_text("3")
    (real / ".new").rename(real / "a.yaml")
    assert source.drain()
    (linked / "topology.yaml").unlink()
    assert source.drain()


def test_the_end_of_a_process_is_a_hint(opened: list[Source]) -> None:
    """A process that is followed and ends is a hint once; one that ended before is reported by `follow`."""
    source = ProcessEvents()
    opened.append(source)
    with subprocess.Popen(["sleep", "100"]) as one:
        assert not source.follow([one.pid])
        assert not source.drain()
        one.kill()
        assert is_hinted(source)
        assert not source.drain()
    assert source.follow([one.pid])


class Engine:
    """A socket that answers like an engine."""

    def __init__(self, path: Path) -> None:
        """It listens from here on."""
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def accept(self, head: bytes = b"HTTP/1.0 200 OK\r\n\r\n") -> socket.socket:
        connection, _ = self.listener.accept()
        assert connection.recv(1000).startswith(b"GET /events?")
        connection.sendall(head)
        return connection


def accept_beside(engine: Engine, into: list[socket.socket], **named: bytes) -> threading.Thread:
    thread = threading.Thread(target=lambda: into.append(engine.accept(**named)))
    thread.start()
    return thread


def test_an_engine_that_ends_is_a_hint_and_opened_again(tmp_path: Path) -> None:
    """Events are hints; so are a connection that ends, and one that is there again."""
    path, accepted = tmp_path / "engine", []  # type: ignore[var-annotated]
    engine = Engine(path)
    thread = accept_beside(engine, accepted)
    hints = Hints()
    hints.want({"docker": (Cause.ENGINE, lambda: EngineEvents(f"unix://{path}"))})
    thread.join()
    assert hints.wait(time.monotonic() + WAIT_S) == {Cause.ENGINE}  # what happened before the answer has no event
    assert hints.drain() == set()
    accepted[0].sendall(b'{"Action": "start"}\n')
    assert hints.wait(time.monotonic() + WAIT_S) == {Cause.ENGINE}
    engine.listener.close()
    accepted[0].close()
    assert hints.wait(time.monotonic() + WAIT_S) == {Cause.ENGINE}
    assert hints.wait(time.monotonic() + 0.05) == set()
    engine = Engine(path)
    thread = accept_beside(engine, accepted)
    deadline = time.monotonic() + WAIT_S
    while not (found := hints.wait(deadline)) and time.monotonic() < deadline:
        pass
    thread.join()
    assert found == {Cause.ENGINE}
    hints.close()
    for each in (engine.listener, accepted[1]):
        each.close()


def test_an_engine_that_refuses_is_no_source(tmp_path: Path) -> None:
    """Another status than 200 is an end, and is tried again later."""
    engine, accepted = Engine(tmp_path / "engine"), []  # type: ignore[var-annotated]
    thread = accept_beside(engine, accepted, head=b"HTTP/1.0 500 No\r\n\r\n")
    source = EngineEvents(str(tmp_path / "engine"))
    thread.join()
    with pytest.raises(SourceEndedError):
        source.drain()
    source.close()
    for each in (engine.listener, accepted[0]):
        each.close()


def test_an_engine_that_is_yet_to_start_holds_up_nothing(tmp_path: Path) -> None:
    """Systemd listens before the engine runs: the source is there at once, and its answer, even in pieces, is one hint."""
    engine = Engine(tmp_path / "engine")
    begun_s = time.monotonic()
    source = EngineEvents(str(tmp_path / "engine"))
    assert not source.drain()
    assert time.monotonic() - begun_s < 1
    connection = engine.accept(head=b"HTTP/1.0 200 OK\r\n")
    assert not source.drain()
    connection.sendall(b"\r\n")
    assert source.drain()
    assert not source.drain()
    for each in (source, connection, engine.listener):
        each.close()


def test_a_source_that_ends_says_so(tmp_path: Path) -> None:
    """`drain` raises SourceEndedError at the end of a connection, and never takes it for silence."""
    engine, accepted = Engine(tmp_path / "engine"), []  # type: ignore[var-annotated]
    thread = accept_beside(engine, accepted)
    source = EngineEvents(str(tmp_path / "engine"))
    thread.join()
    accepted[0].close()
    engine.listener.close()
    with pytest.raises(SourceEndedError):
        source.drain()
    source.close()
