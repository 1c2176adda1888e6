"""What is read raw is what ip(8) reads, and what cannot be read is an error."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.kernel.namespaces import run_in_thread
from reconciler.kernel.netlink import dump as netlink_dump
from reconciler.kernel.netlink import neighbors as netlink_neighbors
from reconciler.kernel.netlink.encode import (
    IFADDRMSG,
    IFINFOMSG,
    NDMSG,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWLINK,
    RTMSG,
)
from reconciler.kernel.netlink.rtnetlink import (
    DUMP_TRIES,
    HEADER,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NetlinkError,
    RouteSocket,
    parse_error,
    parse_messages,
)
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld

BUILD = """
ip link add br0 address 02:00:00:00:00:01 group 77 type bridge forward_delay 0 mcast_snooping 0
ip link set br0 alias some:alias up
ip link property add dev br0 altname a-longer-name-of-it altname another-longer-name
ip link add v0 mtu 1400 type veth peer name v1
ip link set v0 master br0 addrgenmode none up
ip link set v1 up
bridge link set dev v0 hairpin on isolated on
ip link add m0 link br0 type macvlan mode private
ip link add x0 type vxlan id 9 dstport 4789 local 192.0.2.1 nolearning
ip link set x0 mtu 1200
ip address add 10.9.0.1/24 brd + dev br0
ip address add 10.9.0.1/32 dev lo
ip address add 10.9.1.1 peer 10.9.1.2/32 dev v1
ip address add fd00::1/64 dev br0 nodad noprefixroute
ip route add default via 10.9.0.254 metric 5
ip route add 10.8.0.0/16 dev br0 src 10.9.0.1 proto 78
ip route add blackhole 10.7.0.0/16
ip route add 10.6.0.0/16 dev br0 table 99
ip -6 route add fd00::/64 dev br0 proto 78
ip -6 route add fd01::/64 via fd00::2
ip -6 route add default via fd00::3 metric 9 proto 78
ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev br0
ip neigh add fd00::2 lladdr 02:00:00:00:00:09 dev br0
ip neigh add proxy 10.9.0.3 dev br0
bridge fdb append 00:00:00:00:00:00 dev x0 dst 192.0.2.2
"""


@pytest.fixture
def built(world: KernelWorld) -> KernelWorld:
    for line in BUILD.strip().splitlines():
        world.own.run(*line.split())
    return world


@pytest.mark.kernel
def test_links_as_ip_shows_them(built: KernelWorld) -> None:
    """Every link of a mixed namespace, as `ip -d -j link` shows it."""
    shown = {one["ifname"]: one for one in built.show("ip", "-d", "link")}
    links = netlink_dump.read_links(built.namespaces.socket(""))
    assert {link.name for link in links.values()} == set(shown)
    for link in links.values():
        one = shown[link.name]
        assert (link.index, link.mac, link.mtu) == (one["ifindex"], one["address"], one["mtu"])
        assert link.kind == one.get("linkinfo", {}).get("info_kind", "")
        assert str(link.group) == one["group"].replace("default", "0")
        assert link.up == ("UP" in one["flags"])
        assert (links[link.master].name if link.master else None) == one.get("master")
        assert link.alias == one.get("ifalias", "")
        assert list(link.altnames) == one.get("altnames", [])
        assert link.link_local == (one.get("inet6_addr_gen_mode", "none") != "none")
    by_name = {link.name: link for link in links.values()}
    assert by_name["v0"].peer == by_name["v1"].index
    assert {("forward_delay", "0"), ("mcast_snooping", "0")} <= set(by_name["br0"].options)
    assert {("hairpin", "on"), ("isolated", "on"), ("learning", "on")} <= set(by_name["v0"].port_options)
    assert {("link", "br0"), ("mode", "private")} <= set(by_name["m0"].options)
    assert {("id", "9"), ("dstport", "4789"), ("learning", "off")} <= set(by_name["x0"].options)


@pytest.mark.kernel
def test_ipv6_switched_off_is_seen(built: KernelWorld) -> None:
    """disable_ipv6 of each link is read, and a link that is too small for IPv6 counts as without."""
    built.own.run("sysctl", "-qw", "net.ipv6.conf.br0.disable_ipv6=1")
    links = {link.name: link for link in netlink_dump.read_links(built.namespaces.socket("")).values()}
    assert [links[name].ipv6 for name in ("br0", "v0", "x0")] == [False, True, False]


@pytest.mark.kernel
def test_addresses_as_ip_shows_them(built: KernelWorld) -> None:
    """Every address, a point-to-point one by its own side."""
    names = {link.index: link.name for link in netlink_dump.read_links(built.namespaces.socket("")).values()}
    shown = {
        (one["ifname"], f"{info['local']}/{info['prefixlen']}")
        for one in built.show("ip", "address")
        for info in one["addr_info"]
    }
    found = netlink_dump.read_addresses(built.namespaces.socket(""))
    assert {(names[one.index], one.cidr) for one in found} == shown
    assert next(one.flags for one in found if one.cidr == "fd00::1/64") & 0x202 == 0x202


@pytest.mark.kernel
def test_routes_as_ip_shows_them(built: KernelWorld) -> None:
    """The unicast routes of the main table: no blackhole, no other table, an IPv6 metric of 1024 as none."""
    found = {(one.dst, one.via, one.src, one.metric) for one in netlink_dump.read_routes(built.namespaces.socket(""))}
    shown = [one for one in built.show("ip", "route") + built.show("ip", "-6", "route") if one.get("type") != "blackhole"]

    def normalise(one: dict[str, Any]) -> tuple[str, str, str, int]:
        dst = one["dst"] if "/" in one["dst"] or one["dst"] == "default" else one["dst"] + "/32"
        return dst, one.get("gateway", ""), one.get("prefsrc", ""), one.get("metric", 0) % 1024

    assert found == {normalise(one) for one in shown}


@pytest.mark.kernel
def test_neighbors_and_entries(built: KernelWorld) -> None:
    """Permanent entries, proxies and a VXLAN's entries are found, the kernel's own multicast entries are not."""
    route_socket = built.namespaces.socket("")
    neighbors = netlink_neighbors.read_neighbors(route_socket)
    found = {(one.address, one.mac, one.proxy) for one in neighbors if one.state & 0x80 or one.proxy}
    mac = "02:00:00:00:00:09"
    assert found == {("10.9.0.2", mac, False), ("fd00::2", mac, False), ("10.9.0.3", "", True)}
    assert [(one.mac, one.remote) for one in netlink_neighbors.read_fdb(route_socket)] == [("00:00:00:00:00:00", "192.0.2.2")]


@pytest.mark.kernel
def test_empty_namespace_has_nothing(namespace: Namespace, world: KernelWorld) -> None:
    """A namespace with nothing but a loopback reads as that, without an error: a young one has no routing table yet."""
    route_socket = world.namespaces.socket("")
    assert [link.name for link in netlink_dump.read_links(route_socket).values()] == ["lo"]
    assert not netlink_dump.read_routes(route_socket)
    assert not netlink_neighbors.read_neighbors(route_socket)
    assert not netlink_neighbors.read_fdb(route_socket)


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_cut_off_answers_are_netlink_errors(built: KernelWorld) -> None:
    """However an object of the kernel's is cut, or its bytes changed, the parser gives a value or NetlinkError, nothing else."""
    route_socket = built.namespaces.socket("")
    parsers: tuple[tuple[Callable[[memoryview], object], int, bytes], ...] = (
        (netlink_dump.parse_link, RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0)),
        (netlink_dump.parse_address, RTM_GETADDR, IFADDRMSG.pack(0, 0, 0, 0, 0)),
        (netlink_dump.parse_route, RTM_GETROUTE, RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)),
        (netlink_neighbors.parse_neighbor, RTM_GETNEIGH, NDMSG.pack(0, 0, 0, 0, 0)),
        (netlink_neighbors.parse_fdb, RTM_GETNEIGH, NDMSG.pack(7, 0, 0, 0, 0)),
        (lambda data: netlink_dump.parse_unready_port(data, 77), RTM_GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0)),
    )
    samples = [(parse, bytes(data)) for parse, number, body in parsers for _, data in route_socket.dump(number, body)]
    assert len(samples) > 30
    places = st.integers(0, 4000)

    @settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(samples), st.integers(0, 4000), st.lists(st.tuples(places, st.integers(0, 255)), max_size=3))
    def spoil(sample: tuple[Callable[[memoryview], object], bytes], length: int, changes: list[tuple[int, int]]) -> None:
        parse, data = sample
        spoilt = bytearray(data[: length % (len(data) + 1)])
        for place, value in changes:
            if spoilt:
                spoilt[place % len(spoilt)] = value
        with suppress(NetlinkError):
            parse(memoryview(spoilt))

    spoil()


@given(st.binary(max_size=200))
def test_any_datagram_is_messages_or_an_error(data: bytes) -> None:
    """Random bytes in place of the kernel's answer raise NetlinkError or give messages within them."""
    try:
        messages = list(parse_messages(data))
    except NetlinkError:
        return
    assert all(bytes(body) in data for _, _, _, body in messages)
    assert sum(HEADER.size + len(body) for _, _, _, body in messages) <= len(data)
    for _, flags, _, body in messages:
        with suppress(NetlinkError):
            parse_error(flags, body)


@dataclass
class ScriptedSocket:
    """Answers each request with the next of the given (type, flags, body) lists, and counts the requests."""

    answers: list[list[tuple[int, int, bytes]]]
    requests: int = 0
    sequence: int = field(default=0)

    def send(self, data: bytes) -> None:
        self.requests += 1
        self.sequence = HEADER.unpack_from(data)[3]

    def recv(self, size: int) -> bytes:
        parts = self.answers[min(self.requests, len(self.answers)) - 1]
        return b"".join(HEADER.pack(16 + len(body), kind, flags, self.sequence, 0) + body for kind, flags, body in parts)

    def close(self) -> None:
        pass


def scripted(*answers: list[tuple[int, int, bytes]]) -> tuple[RouteSocket, ScriptedSocket]:
    route_socket = run_in_thread(RouteSocket)
    route_socket.close()
    script = ScriptedSocket(list(answers))
    route_socket._socket = script  # type: ignore[assignment]
    return route_socket, script


DONE = (NLMSG_DONE, 2, struct.pack("=i", 0))
LINK = (RTM_NEWLINK, 2, IFINFOMSG.pack(0, 1, 7, 0, 0))


def test_interrupted_dump_is_read_again() -> None:
    """A dump that the kernel marks as changed on the way is dropped and read again, as a whole."""
    interrupted = [(RTM_NEWLINK, 2 | NLM_F_DUMP_INTR, IFINFOMSG.pack(0, 1, 5, 0, 0)), DONE]
    route_socket, script = scripted(interrupted, interrupted, [LINK, DONE])
    assert [IFINFOMSG.unpack_from(body)[2] for _, body in route_socket.dump(RTM_GETLINK, b"")] == [7]
    assert script.requests == 3


def test_dump_that_never_ends_well_raises() -> None:
    """Where every reading is interrupted, there is an error in the end and no half of a table."""
    route_socket, script = scripted([(RTM_NEWLINK, NLM_F_DUMP_INTR, IFINFOMSG.pack(0, 1, 5, 0, 0)), DONE])
    with pytest.raises(NetlinkError, match="changed"):
        route_socket.dump(RTM_GETLINK, b"")
    assert script.requests == DUMP_TRIES


@pytest.mark.parametrize("kind", [NLMSG_ERROR, NLMSG_DONE])
def test_failed_dump_is_not_nothing(kind: int) -> None:
    """An error instead of a dump, or at its end, is raised with its errno."""
    route_socket, _ = scripted([LINK, (kind, 0, struct.pack("=i", -errno.EPERM))])
    with pytest.raises(NetlinkError) as caught:
        route_socket.dump(RTM_GETLINK, b"")
    assert caught.value.number == errno.EPERM


def test_answers_to_earlier_requests_are_passed_over() -> None:
    """What is left of an earlier request, as after a cancelled one, is no part of a dump."""
    route_socket, script = scripted([LINK, DONE])
    stale = HEADER.pack(16 + 4, NLMSG_DONE, 0, 0, 0) + bytes(4)
    answer = script.recv

    def recv(size: int) -> bytes:
        return stale + answer(size)

    script.recv = recv  # type: ignore[method-assign]
    assert len(route_socket.dump(RTM_GETLINK, b"")) == 1


@pytest.mark.kernel
def test_dump_of_a_kind_that_is_none() -> None:
    """The kernel's refusal of a request comes with its errno and, where it gives them, its words."""

    def work() -> None:
        route_socket = RouteSocket()
        try:
            route_socket.dump(RTM_GETROUTE, RTMSG.pack(socket.AF_INET, 9, 0, 0, 0, 0, 0, 0, 0))
        finally:
            route_socket.close()

    with pytest.raises(NetlinkError, match=r"EINVAL\).*header") as caught:
        run_in_thread(work)
    assert caught.value.number == errno.EINVAL
