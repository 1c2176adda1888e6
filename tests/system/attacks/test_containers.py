"""A container with raw sockets, and a neighbour on the underlay, against what the file promises: frames made by hand.

Each attack is tried on the real kernel and looked at where it would show. That is the bridge's table, the host's neighbor table
and routes, and sockets of the host and of other containers. A second topology, `over routes`, repeats what the overlay could
change.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace
from tests.harness.packets.build import (
    ARP,
    BROADCAST,
    IP4,
    IP6,
    LINK_LOCAL_GROUPS,
    LLDP,
    arp_request,
    ethernet,
    ip,
    router_advertisement,
    udp,
    unreachable,
)
from tests.harness.worlds.overlay import PATIENCE_S, QUIET_S, LabWorld, received

pytestmark = pytest.mark.kernel

TEXT = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: [192.0.2.12, "2001:db8::12"]}
subnets:
  front: {cidr: [10.186.0.0/24, "fd00:186::/64"]}
  back: {cidr: [10.187.0.0/24, "fd00:187::/64"]}
  plain: {cidr: 10.188.0.0/24, overlay: none, hosts: [alpha]}
  routed: {cidr: [10.189.0.0/24, "fd00:189::/64"], overlay: routes}
containers:
  mallory: {host: alpha, networks: {front: auto}}
  greedy: {host: alpha, networks: {front: auto}, connections: 200}
  web:
    host: alpha
    networks: {front: auto}
    ports: ["8080:80/udp", "5300:53/udp", "127.0.0.1:5432:5432", "127.0.0.1:5432:5432/udp"]
  bob: {host: alpha, networks: {front: auto}}
  far: {host: beta, networks: {front: auto}}
  victim: {host: alpha, networks: {back: auto}}
  friend: {host: alpha, networks: {back: auto}}
  i1: {host: alpha, networks: {front: {isolated: true}}}
  i2: {host: alpha, networks: {front: {isolated: true}}}
  i3: {host: beta, networks: {front: {isolated: true}}}
  j1: {host: alpha, networks: {routed: {isolated: true}}}
  j2: {host: alpha, networks: {routed: {isolated: true}}}
  j3: {host: beta, networks: {routed: {isolated: true}}}
  r1: {host: alpha, networks: {routed: auto}}
  r2: {host: beta, networks: {routed: auto}}
  only4: {host: alpha, networks: {plain: auto}}
policies:
  - {allow: bob, to: victim, ports: [7000/udp]}
"""
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
OUTSIDE = ("203.0.113.10", "2001:db8:ffff::10")
HOST = ("192.0.2.11", "2001:db8::11")


# --- means ------------------------------------------------------------------------------------------------------------


def mac_of(spread: LabWorld, member: str, dev: str = "eth0") -> str:
    (link,) = json.loads(spread.inside(member).run("ip", "-j", "link", "show", "dev", dev).stdout)
    return str(link["address"])


def bridge_of(spread: LabWorld, subnet: str, host: str = "alpha") -> str:
    shown = json.loads(spread.inside(f"lab.{host}").run("ip", "-j", "link", "show", "type", "bridge").stdout)
    return next(str(link["ifname"]) for link in shown if link.get("ifalias") == f"netctl:{spread.name}/bridge/{subnet}")


def port_of(spread: LabWorld, container: str, host: str = "alpha") -> str:
    shown = json.loads(spread.inside(f"lab.{host}").run("ip", "-j", "link", "show", "type", "veth").stdout)
    found = (link for link in shown if str(link.get("ifalias", "")).startswith(f"netctl:{spread.name}/veth/{container}/"))
    return str(next(found)["ifname"])


def gateway(spread: LabWorld, subnet: str, family: int, host: str = "alpha") -> str:
    return spread.addresses(f"lab.{host}", bridge_of(spread, subnet, host))[family]


def send(spread: LabWorld, member: str, *frames: bytes, dev: str = "eth0") -> None:
    with closing(spread.open(member, socket.AF_PACKET, socket.SOCK_RAW)) as wire:
        wire.bind((dev, 0))
        for frame in frames:
            wire.send(frame)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextmanager
def hearing(spread: LabWorld, member: str, port: int, address: str = "") -> Iterator[socket.socket]:
    """A UDP socket in the member, of the family of `address`, or of both."""
    with closing(spread.open(member, family_of(address or "::"), socket.SOCK_DGRAM)) as server:
        if not address:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((address or "::", port))
        yield server


@contextmanager
def watching(spread: LabWorld, member: str, dev: str = "eth0") -> Iterator[socket.socket]:
    """Everything that comes in by a link."""
    with closing(spread.open(member, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))) as wire:
        wire.bind((dev, 3))
        yield wire


def tables_of(spread: LabWorld, host: str = "alpha") -> tuple[str, str, str]:
    """What a host knows of others: the bridges' tables, neighbors, and IPv6 default routes."""
    where = spread.inside(f"lab.{host}")
    shown = (("bridge", "fdb", "show"), ("ip", "neigh", "show"), ("ip", "-6", "route", "show", "default"))
    fdb, neighbors, routes = (sorted(where.run(*words).stdout.splitlines()) for words in shown)
    kept = [line for line in neighbors if " dev eth0 " not in line]  # the uplink's come and go
    states = [re.sub(r" (REACHABLE|STALE|DELAY|PROBE)", "", line) for line in kept]
    return "\n".join(fdb), "\n".join(states), "\n".join(routes)


# --- a port on localhost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("place", ["neighbour", "foreign bridge"])
def test_a_port_on_localhost_is_closed_to_other_nodes(
    spread: LabWorld, rogue: Namespace, kind: socket.SocketKind, place: str
) -> None:
    """A node that sends to 127.0.0.1 at the host's hardware address gets no answer, while the host itself does.

    It does so over the uplink, and over another program's bridge on the host.
    """
    alpha, via, attacker = spread.inside("lab.alpha"), "192.0.2.11", rogue
    dev, own = "eth0", "192.0.2.99"
    if place == "foreign bridge":
        alpha.run("ip", "link", "add", "theirs", "type", "bridge")
        alpha.run("ip", "link", "add", "theirs-1", "type", "veth", "peer", "name", "side0", "netns", rogue.name)
        for words in ("set theirs up", "set theirs-1 master theirs up"):
            alpha.run("ip", "link", *words.split())
        alpha.run("ip", "address", "add", "172.31.0.1/24", "dev", "theirs")
        rogue.run("ip", "address", "add", "172.31.0.9/24", "dev", "side0")
        rogue.run("ip", "link", "set", "side0", "up")
        via, dev, own = "172.31.0.1", "side0", "172.31.0.9"
    try:
        for words in ("address del 127.0.0.1/8 dev lo", f"route add 127.0.0.1/32 via {via} dev {dev}"):
            attacker.run("ip", *words.split())
        attacker.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")

        def reaches(member: str, bound: str) -> bool:
            with closing(spread.open(member, socket.AF_INET, kind)) as client:
                client.settimeout(QUIET_S)
                if bound:
                    client.bind((bound, 0))
                try:
                    client.connect(("127.0.0.1", 5432))
                    client.send(b"who")
                    return bool(client.recv(100))
                except OSError:
                    return False

        with closing(spread.open("web", socket.AF_INET, kind)) as server:
            server.bind(("0.0.0.0", 5432))
            answer = answering(server, kind)
            assert reaches("lab.alpha", "")
            assert not reaches("rogue", own)
            answer()
    finally:
        if place == "foreign bridge":
            alpha.run("ip", "link", "delete", "theirs-1")
            alpha.run("ip", "link", "delete", "theirs")


def answering(server: socket.socket, kind: socket.SocketKind) -> Callable[[], None]:
    """Answer every client of the socket from now on; what it returns ends that."""
    import threading

    stop = threading.Event()
    server.settimeout(0.05)
    if kind == socket.SOCK_STREAM:
        server.listen(8)

    def body() -> None:
        while not stop.is_set():
            try:
                if kind == socket.SOCK_STREAM:
                    client, _ = server.accept()
                    with client:
                        client.sendall(b"here")
                else:
                    _, client_address = server.recvfrom(100)
                    server.sendto(b"here", client_address)
            except TimeoutError:
                continue

    thread = threading.Thread(target=body)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


# --- frames to link-local groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("attacker", ["mallory", "only4"])
def test_frames_to_link_local_groups_tell_the_host_nothing(spread: LabWorld, attacker: str) -> None:
    """No such frame changes a table of the host, makes the container its router, or reaches a socket.

    Whatever protocol it carries, and from whichever hardware address it comes.
    """
    alpha, subnet = spread.inside("lab.alpha"), "front" if attacker == "mallory" else "plain"
    own_mac, port = mac_of(spread, attacker), port_of(spread, attacker)
    own, router = spread.addresses(attacker)[0], gateway(spread, subnet, 0)
    for dev in (port, bridge_of(spread, subnet)):
        alpha.run("sysctl", "-qw", f"net.ipv6.conf.{dev}.accept_ra=2", f"net.ipv6.conf.{dev}.disable_ipv6=0")
    macs = [own_mac, mac_of(spread, "bob"), mac_of(spread, "far"), mac_of(spread, "lab.alpha", bridge_of(spread, subnet)),
            "02:00:00:00:66:01"]  # fmt: skip
    before = tables_of(spread)
    with hearing(spread, "lab.alpha", 9999) as host, hearing(spread, "bob", 9999) as other:
        frames = []
        for group in LINK_LOCAL_GROUPS:
            for source in macs:
                # A bridge without STP forwards the first group like any other, behind its filter.
                honest = group == LINK_LOCAL_GROUPS[0] and source == own_mac
                frames += [
                    ethernet(source, group, IP4, udp(own, router, 9, 9999, b"honest" if honest else b"forged")),
                    ethernet(source, group, IP4, udp("192.0.2.12", "192.0.2.11", 9, 9999, b"forged")),
                    ethernet(source, group, ARP, arp_request(source, "10.186.0.200", router)),
                    ethernet(source, group, ARP, arp_request(source, own, "192.0.2.11")),
                    ethernet(source, group, IP6, router_advertisement("fe80::66")),
                    ethernet(source, group, IP6, udp("fe80::66", "ff02::1", 9, 9999, b"forged")),
                    ethernet(source, group, LLDP, bytes(46)),
                ]
        send(spread, attacker, *frames)
        assert not received(host, b"forged", QUIET_S)
        assert not received(other, b"forged", 0.05)
    assert tables_of(spread) == before
    assert run_netctl("apply", spread.file).status == 0


def test_what_a_container_sends_moves_no_entry(spread: LabWorld) -> None:
    """A container here, or behind the VXLAN, keeps its forwarding entry when another one sends with its hardware address."""
    before = tables_of(spread)[0]
    for name in ("bob", "far"):
        victim = mac_of(spread, name)
        send(spread, "mallory", ethernet(victim, BROADCAST, ARP, arp_request(victim, spread.addresses(name)[0], "10.186.0.1")),
             ethernet(victim, "01:80:c2:00:00:03", LLDP, bytes(46)))  # fmt: skip
    time.sleep(QUIET_S)
    assert tables_of(spread)[0] == before


def test_a_thousand_addresses_fill_no_table(spread: LabWorld) -> None:
    """Frames from a thousand hardware and IP addresses leave the bridge's and the neighbor table as they were."""
    before = tables_of(spread)
    frames = []
    for number in range(1000):
        source = f"02:66:00:00:{number >> 8:02x}:{number & 255:02x}"
        address = f"10.186.{1 + (number >> 8)}.{number & 255}"
        frames += [ethernet(source, target, ARP, arp_request(source, address, "10.186.0.1"))
                   for target in (BROADCAST, "01:80:c2:00:00:0e", "01:80:c2:00:00:02")]  # fmt: skip
    send(spread, "mallory", *frames)
    time.sleep(QUIET_S)
    assert tables_of(spread) == before


# --- unicast for others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["bob", "far", "an unknown address"])
def test_unicast_for_another_is_not_seen(spread: LabWorld, target: str) -> None:
    """What is sent to one container, or to an unknown address, arrives at no other; also after the bridge was flushed."""
    bridge = bridge_of(spread, "front")
    spread.inside("lab.alpha").run("ip", "link", "set", bridge, "type", "bridge", "fdb_flush")
    to = "02:00:00:00:77:01" if target == "an unknown address" else mac_of(spread, target)
    frame = ethernet(mac_of(spread, "web"), to, IP4, udp(spread.addresses("web")[0], "10.186.0.250", 9, 9, b"for one only"))
    with watching(spread, "mallory") as seen, watching(spread, "far" if target != "far" else "i3") as afar:
        send(spread, "web", frame)
        assert not received(seen, b"for one only", QUIET_S)
        assert not received(afar, b"for one only", 0.05)
    assert not spread.unreachable([("web", spread.addresses("bob")[0]), ("web", spread.addresses("far")[0])])


# --- the fast path of routes ------------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("target", [BROADCAST, "02:00:00:00:77:01", "33:33:00:00:00:01"])
def test_the_fast_path_takes_only_frames_for_the_host(spread: LabWorld, family: int, target: str) -> None:
    """A host forwards no frame that was sent to another node or to all; nor one from a container that is not for its gateway."""
    source, goal = spread.addresses("r2")[family], spread.addresses("r1")[family]
    kind = IP6 if family else IP4
    right = mac_of(spread, "lab.alpha")
    with hearing(spread, "r1", 9998) as there, hearing(spread, "r2", 9998) as back:
        frame = ethernet(mac_of(spread, "lab.beta"), target, kind, udp(source, goal, 9, 9998, b"not for you"))
        send(spread, "lab.beta", frame)
        assert not received(there, b"not for you", QUIET_S)
        send(spread, "lab.beta", ethernet(mac_of(spread, "lab.beta"), right, kind, udp(source, goal, 9, 9998, b"for you")))
        assert received(there, b"for you", PATIENCE_S)
        send(spread, "r1", ethernet(mac_of(spread, "r1"), target, kind, udp(goal, source, 9, 9998, b"not for you")))
        assert not received(back, b"not for you", QUIET_S)


# --- isolated ports ---------------------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize(("one", "two", "subnet"), [
    ("i1", "i2", "front"), ("i1", "i3", "front"), ("i3", "i1", "front"), ("j1", "j2", "routed"), ("j1", "j3", "routed"),
])  # fmt: skip
def test_isolated_ports_do_not_meet_at_a_gateway(spread: LabWorld, family: int, one: str, two: str, subnet: str) -> None:
    """An isolated container reaches no other by way of its gateway, of the other host's, straight, or by a broadcast."""
    own, goal = spread.addresses(one)[family], spread.addresses(two)[family]
    home = "beta" if one.endswith("3") else "alpha"
    kind = IP6 if family else IP4
    routers = [mac_of(spread, f"lab.{host}", bridge_of(spread, subnet, host)) for host in ("alpha", "beta")]
    everyone = ["ff02::1", "33:33:00:00:00:01"] if family else ["255.255.255.255", BROADCAST]
    with hearing(spread, two, 9997) as there:
        send(
            spread,
            one,
            *(ethernet(mac_of(spread, one), target, kind, udp(own, goal, 9, 9997, b"hello"))
              for target in (*routers, mac_of(spread, two), BROADCAST)),
            ethernet(mac_of(spread, one), everyone[1], kind, udp(own, everyone[0], 9, 9997, b"hello")),
        )  # fmt: skip
        assert not received(there, b"hello", QUIET_S)
    assert spread.unreachable([(one, goal)]) == [(one, goal)]
    assert not spread.unreachable([(one, gateway(spread, subnet, family, home))])


# --- source ports of masqueraded connections --------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize(("source_port", "service"), [(8080, "published"), (40000, "published late"), (123, "the host's")])
def test_a_container_takes_no_source_port_of_a_service(spread: LabWorld, family: int, source_port: int, service: str) -> None:
    """A client reaches a port of the host also after a container has sent to it from that port (CVE-2021-3773)."""
    with apply_port(spread, "40000:80/udp" if service == "published late" else ""):
        listener = "lab.alpha" if service == "the host's" else "web"
        # The lab's router does not know the way to `outside` by IPv6 masqueraded addresses; the client is a neighbour.
        client_at = OUTSIDE[family]
        with (
            hearing(spread, "lab.outside", 4567) as client,
            hearing(spread, "mallory", source_port) as mallory,
            hearing(spread, listener, source_port if service == "the host's" else 80) as server,
        ):
            mallory.sendto(b"shadow", ("::ffff:" + client_at if family == 0 else client_at, 4567))
            assert received(client, b"shadow", PATIENCE_S)
            client.sendto(b"for the service", ("::ffff:" + HOST[family] if family == 0 else HOST[family], source_port))
            assert received(server, b"for the service", PATIENCE_S)
            assert not received(mallory, b"for the service", 0.05)


@contextmanager
def apply_port(spread: LabWorld, port: str) -> Iterator[None]:
    """With one more published port of `web`, for as long as the test needs it."""
    if not port:
        yield
        return
    spread.apply(TEXT.replace('"8080:80/udp"', f'"8080:80/udp", "{port}"'))
    try:
        yield
    finally:
        spread.apply(TEXT)


def test_connections_of_one_port_keep_their_number(spread: LabWorld) -> None:
    """An ordinary source port is kept as it is; a privileged one stays privileged, as NFS wants it."""
    with hearing(spread, "lab.outside", 4568) as client:
        for own, wanted in ((45678, range(45678, 45679)), (700, range(914, 989))):
            with hearing(spread, "mallory", own) as sender:
                sender.sendto(b"x", ("::ffff:" + OUTSIDE[0], 4568))
                client.settimeout(PATIENCE_S)
                _, (_, port, *_) = client.recvfrom(100)
                assert port in wanted


# --- ICMP errors ------------------------------------------------------------------------------------------------------


@FAMILIES
def test_errors_about_others_connections_are_dropped(spread: LabWorld, family: int) -> None:
    """A container reports no error about a connection between two others, nor as its router; an end of the connection may."""
    victim, bob = spread.addresses("victim")[family], spread.addresses("bob")[family]
    kind, own = IP6 if family else IP4, spread.addresses("mallory")[family]
    routers = mac_of(spread, "lab.alpha", bridge_of(spread, "front"))
    with (
        hearing(spread, "victim", 7000, "::" if family else "0.0.0.0") as server,
        closing(spread.open("bob", family_of(bob), socket.SOCK_DGRAM)) as client,
    ):
        client.bind((bob, 7001))
        client.connect((victim, 7000))
        client.send(b"hi")
        assert received(server, b"hi", PATIENCE_S)
        error = socket.IPPROTO_IPV6 if family else socket.IPPROTO_IP
        server.setsockopt(error, 25 if family else 11, 1)  # IPV6_RECVERR, IP_RECVERR: errors are kept, and reported
        server.sendto(b"ho", (bob, 7001))
        about = udp(victim, bob, 7000, 7001, b"ho")
        send(spread, "mallory", ethernet(mac_of(spread, "mallory"), routers, kind, unreachable(own, victim, about)))
        assert not errors_of(server, QUIET_S)
        send(spread, "bob", ethernet(mac_of(spread, "bob"), routers, kind, unreachable(bob, victim, about)))
        assert errors_of(server, PATIENCE_S)


def errors_of(server: socket.socket, patience_s: float) -> bool:
    """Whether the kernel notes an error for the socket in time."""
    deadline = time.monotonic() + patience_s
    server.setblocking(False)
    while time.monotonic() < deadline:
        try:
            server.recvmsg(1, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False


# --- connection tracking ----------------------------------------------------------------------------------------------


def test_a_container_has_a_share_of_connection_tracking(spread: LabWorld) -> None:
    """A container opens no more connections than the file gives it, and others go on; `status -v` counts them."""
    own, target = spread.addresses("greedy")[0], mac_of(spread, "lab.alpha", bridge_of(spread, "front"))
    source = mac_of(spread, "greedy")
    send(spread, "greedy", *(ethernet(source, target, IP4, udp(own, OUTSIDE[0], 1024 + number, 4000, b"x"))
                              for number in range(5000)))  # fmt: skip
    counted = read_tracked(spread, own)
    assert 150 <= counted <= 201
    status = json.loads(run_netctl("status", "--verbose", "--json", spread.file).out)
    shares = {one["container"]: one for host in status["hosts"] for one in host.get("connections", ())}
    assert shares["greedy"]["limit"] == 200
    assert shares["greedy"]["open"] >= 150
    assert shares["bob"]["limit"] == 8192
    assert not spread.unreachable([("web", OUTSIDE[0]), ("bob", OUTSIDE[0])])


def read_tracked(spread: LabWorld, address: str) -> int:
    """How many entries of connection tracking a host has from an address."""
    shown = spread.inside("lab.alpha").run("cat", "/proc/net/nf_conntrack", check=False)
    if shown.returncode:
        pytest.fail(shown.stderr)
    return sum(f"src={address} " in line.partition(" dst=")[0] + " " for line in shown.stdout.splitlines())


# --- the mark ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["out", "in"])
def test_the_mark_opens_no_other_programs_network(spread: LabWorld, rogue: Namespace, way: str) -> None:
    """What goes between a container and another program's bridge has no mark that Docker's chain accepts."""
    alpha = spread.inside("lab.alpha")
    alpha.run("ip", "link", "add", "theirs", "type", "bridge")
    alpha.run("ip", "link", "add", "theirs-1", "type", "veth", "peer", "name", "side0", "netns", rogue.name)
    try:
        for words in ("link set theirs up", "link set theirs-1 master theirs up", "address add 172.31.0.1/24 dev theirs"):
            alpha.run("ip", *words.split())
        for words in ("address add 172.31.0.9/24 dev side0", "link set side0 up", "route replace default via 172.31.0.1"):
            rogue.run("ip", *words.split())
        alpha.run("nft", "-f", "-", text="table ip docker {\nchain forward {\ntype filter hook forward priority 0; policy drop;\n"
                  "meta mark & 0x1000 == 0x1000 accept\n}\n}\n")  # fmt: skip
        assert not spread.unreachable([("web", OUTSIDE[0])])
        asking, listening, goal = (
            ("bob", "rogue", ("172.31.0.9", 7070)) if way == "out" else ("rogue", "web", ("172.31.0.1", 8080))
        )
        with hearing(spread, listening, 7070 if way == "out" else 80) as target, hearing(spread, asking, 7071) as sender:
            sender.sendto(b"let me in", (f"::ffff:{goal[0]}", goal[1]))
            assert not received(target, b"let me in", QUIET_S)
    finally:
        alpha.run("nft", "delete", "table", "ip", "docker", check=False)
        alpha.run("ip", "link", "delete", "theirs-1")
        alpha.run("ip", "link", "delete", "theirs")


# --- fragments --------------------------------------------------------------------------------------------------------


def test_fragments_do_not_change_the_port_that_a_policy_checked(spread: LabWorld) -> None:
    """Overlapping, reordered and tiny fragments of IPv4, the first to the port that is open: nothing arrives at another port."""
    own, goal = spread.addresses("bob")[0], spread.addresses("victim")[0]
    source, target = mac_of(spread, "bob"), mac_of(spread, "lab.alpha", bridge_of(spread, "front"))
    more = 0x2000
    with hearing(spread, "victim", 7000) as allowed, hearing(spread, "victim", 22) as closed:

        def header(port: int, length: int) -> bytes:
            return struct.pack("!HHHH", 7001, port, length, 0)

        payload = b"0123456789abcdef"
        for number, parts in enumerate((
            [(more, header(7000, 24) + payload[:8]), (0, header(22, 24)), (2, payload[8:])],
            [(more, header(7000, 24)), (more | 1, payload[:8]), (more, header(22, 24)), (2, payload[8:])],
            [(more, header(22, 24)), (more, header(7000, 24)), (more | 1, payload[:8]), (2, payload[8:])],
            [(2, payload[8:]), (more, header(22, 24) + payload[:8]), (more, header(7000, 24) + payload[:8])],
            [(more | 1, payload[:8]), (2, payload[8:]), (more, header(7000, 24) + payload[:8]), (more, header(22, 24))],
            [(more, header(7000, 24) + payload), (more, header(22, 24)), (3, b"tail8888")],
        ), start=100):  # fmt: skip
            packets = [ip(own, goal, socket.IPPROTO_UDP, data, fragment=at, number=number) for at, data in parts]
            send(spread, "bob", *(ethernet(source, target, IP4, packet) for packet in packets))
        assert not received(closed, b"", QUIET_S)
        whole = struct.pack("!HHHH", 7001, 7000, 24, 0) + payload
        parts = [(more, whole[:16]), (2, whole[16:])]
        send(spread, "bob", *(ethernet(source, target, IP4, ip(own, goal, socket.IPPROTO_UDP, data, fragment=at, number=99))
                              for at, data in parts))  # fmt: skip
        assert received(allowed, payload, PATIENCE_S)


def test_the_world_is_as_the_file_says_afterwards(spread: LabWorld) -> None:
    """After all of this netctl has nothing to repair, and its own probes pass."""
    done = run_netctl("diff", spread.file)
    assert done.status == 0, done.out
    spread.apply(TEXT.replace("connections: 200", "connections: 20000"))  # it has used up its share
    spread.verify()
