"""A host with three bridges, five containers, and a neighbour outside: namespaces of the test's own, and packets between them.

The links are made with ip(8), the firewall with the records and the session that netctl uses. Servers in every namespace
answer with their own name and the client's address as they see it. So a test knows which server answered, and behind which NAT.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import string
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import Namespaces, enter, run_in_thread
from reconciler.kernel.netfilter.iptables import apply_step
from reconciler.kernel.netfilter.nft import NftSession, read_tables
from reconciler.kernel.netfilter.table_dump import TableReader
from reconciler.kinds.firewall.docker_user import DockerUser
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.state.snapshot import TableInfo
from reconciler.state.steps.firewall import IptablesAdd, NftCommand

T = TypeVar("T")
Elements = Sequence[tuple[str, str, str]]

HOST4, HOST6 = "192.0.2.11", "2001:db8:2::11"
OUTSIDE4, OUTSIDE6 = "192.0.2.10", "2001:db8:2::10"
ROUTES = (("10.91.0.0/16", HOST4), ("fd91::/16", HOST6))
IP_PKTINFO = 8  # linux/in.h; the module socket has no name for it
SERVER_PORTS = (22, 80, 90, 443)


@dataclass(frozen=True)
class Member:
    """A container: its bridge, its addresses, its MAC, its port on the bridge."""

    name: str
    bridge: str
    ip4: str
    ip6: str
    mac: str

    @property
    def port(self) -> str:
        return f"v-{self.name}"

    @property
    def link_local(self) -> str:
        """From the MAC, by modified EUI-64 (RFC 4291, appendix A)."""
        last = int(self.mac[-2:], 16)
        return f"fe80::ff:fe00:{last:x}"


NETS = {"b-nat": 0, "b-rou": 1, "b-iso": 2}
MEMBERS = {
    name: Member(
        name, bridge, f"10.91.{NETS[bridge]}.{number}", f"fd91:{NETS[bridge]}::{number:x}", f"02:00:00:00:00:{number:02x}"
    )
    for name, bridge, number in (
        ("n1", "b-nat", 0x10),
        ("n2", "b-nat", 0x11),
        ("r1", "b-rou", 0x20),
        ("i1", "b-iso", 0x30),
        ("i2", "b-iso", 0x31),
    )
}
PUBLISHED: Elements = (
    ("published4", "tcp . 8080", "10.91.0.16 . 80"),
    ("published4", "udp . 8080", "10.91.0.16 . 80"),
    ("published6", "tcp . 8080", "fd91::10 . 80"),
    ("published6", "udp . 8080", "fd91::10 . 80"),
    ("published_at4", f"tcp . {HOST4} . 8443", "10.91.1.32 . 443"),
    ("published_at6", f"tcp . {HOST6} . 8443", "fd91:1::20 . 443"),
    ("published_from4", f"tcp . 0.0.0.0/0 . 9000 . {OUTSIDE4}", "10.91.0.17 . 90"),
    ("published_from6", f"tcp . ::/0 . 9000 . {OUTSIDE6}", "fd91::11 . 90"),
)


class FirewallWorld:
    """The namespaces `host`, `outside`, and one for each member."""

    def __init__(self, members: bool = True) -> None:
        """Nothing is made yet; without members there is only the host."""
        self.topology = "t-" + "".join(random.choices(string.ascii_lowercase, k=4))
        self.names = ("host", "outside", *MEMBERS) if members else ("host",)
        self._stop, self._wake = socket.socketpair()
        self._servers: threading.Thread | None = None

    # --- making and unmaking ---

    def netns(self, name: str) -> str:
        return f"{self.topology}-{name}"

    def path(self, name: str) -> str:
        return f"/run/netns/{self.netns(name)}"

    def make_namespaces(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "add", self.netns(name)], check=True)
            self.sysctl(name, "net/ipv6/conf/all/accept_dad", "0")
            self.sysctl(name, "net/ipv6/conf/default/accept_dad", "0")
            self.ip(name, "link set lo up")

    def make(self) -> None:
        self.make_namespaces()
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.sysctl("host", key, "1")
        self._make_uplink()
        for bridge, number in NETS.items():
            self.ip(
                "host",
                f"link add {bridge} address 02:00:00:00:01:0{number} type bridge forward_delay 0 mcast_snooping 0",
                f"link set {bridge} up",
                f"address add 10.91.{number}.1/24 dev {bridge}",
                f"address add fd91:{number}::1/64 dev {bridge} nodad",
            )
            self.sysctl("host", f"net/ipv4/conf/{bridge}/route_localnet", "1")
        for member in MEMBERS.values():
            self._make_member(member)
        self._load()
        self._serve()

    def _make_uplink(self) -> None:
        self.ip("host", f"link add eth0 type veth peer name eth0 netns {self.netns('outside')}", "link set eth0 up")
        self.ip("host", f"address add {HOST4}/24 dev eth0", f"address add {HOST6}/64 dev eth0 nodad")
        self.ip("outside", "link set eth0 up", f"address add {OUTSIDE4}/24 dev eth0", f"address add {OUTSIDE6}/64 dev eth0 nodad")
        self.ip("outside", *(f"route add {subnet} via {via}" for subnet, via in ROUTES))

    def _make_member(self, member: Member) -> None:
        number = NETS[member.bridge]
        self.ip(
            "host",
            f"link add {member.port} type veth peer name eth0 address {member.mac} netns {self.netns(member.name)}",
            f"link set {member.port} master {member.bridge} up",
            f"link set {member.port} type bridge_slave hairpin on",
        )
        self.ip(
            member.name,
            "link set eth0 up",
            f"address add {member.ip4}/24 dev eth0",
            f"address add {member.ip6}/64 dev eth0 nodad",
            f"route add default via 10.91.{number}.1",
            f"route add default via fd91:{number}::1",
        )

    def unmake(self) -> None:
        self._stop.send(b"x")
        if self._servers:
            self._servers.join()
        self._stop.close()
        self._wake.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", self.netns(name)], check=False, stderr=subprocess.DEVNULL)

    def hide_bridged_frames(self) -> None:
        for name in ("iptables", "ip6tables", "arptables"):
            self.sysctl("host", f"net/bridge/bridge-nf-call-{name}", "0")

    def add_docker_chains(self) -> None:
        """As Docker leaves them, and our rule as netctl makes it."""
        for command in ("iptables", "ip6tables"):
            self.run("host", command, "-N", "DOCKER-USER")
            self.run("host", command, "-A", "FORWARD", "-j", "DOCKER-USER")
            self.run("host", command, "-P", "FORWARD", "DROP")
            for step in DockerUser("", command, self.topology).lower_create():
                assert isinstance(step, IptablesAdd)
                apply_step(self.namespaces(), step)

    def namespaces(self) -> Namespaces:
        """The host as netctl's kernel side sees it."""
        return Namespaces(KernelContext(self.topology, "test", own_netns=self.path("host")))

    # --- acting in a namespace ---

    def inside(self, name: str, work: Callable[[], T]) -> T:
        def body() -> T:
            enter(self.path(name))
            return work()

        return run_in_thread(body)

    def ip(self, name: str, *commands: str) -> None:
        subprocess.run(["ip", "-n", self.netns(name), "-batch", "-"], input="\n".join(commands), text=True, check=True)

    def run(self, name: str, *command: str) -> str:
        done = subprocess.run(["nsenter", f"--net={self.path(name)}", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def sysctl(self, name: str, key: str, value: str) -> None:
        def write() -> None:
            Path(f"/proc/sys/{key}").write_text(value)

        self.inside(name, write)

    # --- the firewall ---

    def element(self, entry: tuple[str, str, str], family: str = "inet") -> FirewallElement:
        name, key, value = entry
        return FirewallElement(netns="", family=family, topology=self.topology, set=name, key=key, value=value)

    def _load(self) -> None:
        tables = [FirewallTable(netns="", family=family, topology=self.topology) for family in ("inet", "bridge", "arp")]
        elements = [self.element(entry) for entry in (*self._base(), *PUBLISHED)]
        elements += [self.element(entry, "bridge") for entry in self._ports()]
        self.nft([step for record in (*tables, *elements) for step in record.lower_create()])

    @staticmethod
    def _base() -> Iterator[tuple[str, str, str]]:
        for bridge, number in NETS.items():
            for name, key in (("bridges", bridge), ("same_bridge", f"{bridge} . {bridge}")):
                yield name, key, ""
            for family, subnet in ((4, f"10.91.{number}.0/24"), (6, f"fd91:{number}::/64" if number else "fd91::/64")):
                yield f"own{family}", subnet, ""
                yield f"local{family}", subnet, ""
                if bridge != "b-rou":
                    yield f"guarded{family}", subnet, ""
                if bridge == "b-nat":
                    yield f"natted{family}", subnet, ""
        for member in MEMBERS.values():
            for family, address in ((4, member.ip4), (6, member.ip6)):
                yield f"endpoints{family}", f"{ip_address(address)} . {ip_address(address)}", ""
        yield "uplinks", "eth0", ""
        yield "nat_bridges", "b-nat", ""
        yield "routed_bridges", "b-rou", ""

    @staticmethod
    def _ports() -> Iterator[tuple[str, str, str]]:
        for member in MEMBERS.values():
            yield "ports", member.port, "goto port"
            yield "macs", f"{member.port} . {member.mac}", ""
            yield "addresses4", f"{member.port} . {member.mac} . {member.ip4}", ""
            for address in (canonical(member.ip6), member.link_local):
                yield "addresses6", f"{member.port} . {member.mac} . {address}", ""

    def nft(self, steps: Sequence[object]) -> None:
        commands = [step for step in steps if isinstance(step, NftCommand)]
        self.inside("host", lambda: NftSession().run(commands))

    @contextmanager
    def elements(self, *entries: tuple[str, str, str], family: str = "inet") -> Iterator[None]:
        """The elements are there within the block, and gone after it."""
        self.nft([step for entry in entries for step in self.element(entry, family).lower_create()])
        try:
            yield
        finally:
            self.nft([step for entry in entries for step in self.element(entry, family).lower_delete()])

    def tables(self) -> tuple[TableInfo, ...]:
        def read() -> tuple[TableInfo, ...]:
            reader = TableReader()
            try:
                return read_tables(reader, self.topology)
            finally:
                reader.close()

        return self.inside("host", read)

    # --- packets ---

    def _serve(self) -> None:
        """TCP and UDP servers of both families on SERVER_PORTS in every namespace, in one thread."""
        selector = selectors.DefaultSelector()
        selector.register(self._wake, selectors.EVENT_READ, None)
        for name in self.names:
            for server in self.inside(name, open_servers):
                selector.register(server, selectors.EVENT_READ, name)
        self._servers = threading.Thread(target=answer_all, args=(selector, self._wake))
        self._servers.start()

    def ask(
        self,
        name: str,
        address: str,
        port: int,
        protocol: str = "tcp",
        timeout_s: float = 2,
        source: tuple[str, int] | None = None,
    ) -> str:
        """What a client in the namespace gets: `<server> sees <client's address>`, or what went wrong in one word."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = self.inside(name, lambda: socket.socket(family, kind))
        with client:
            client.settimeout(timeout_s)
            try:
                if source:
                    client.bind(source)
                client.connect((address, port))
                client.send(b"who")
                return client.recv(200).decode()
            except TimeoutError:
                return "timeout"
            except ConnectionRefusedError:
                return "refused"
            except OSError as error:
                return os.strerror(error.errno or 0)

    def arrives(self, sender: str, source: tuple[str, int], target: str) -> bool:
        """Whether a datagram from `source`, which the sender says is its own, gets to a socket of the host."""
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        listener = self.inside("host", lambda: socket.socket(family, socket.SOCK_DGRAM))
        client = self.inside(sender, lambda: socket.socket(family, socket.SOCK_DGRAM))
        with listener, client:
            listener.bind((target, 7001))
            listener.settimeout(0.3)
            client.bind(source)
            client.sendto(b"hello", (target, 7001))
            try:
                return listener.recv(10) == b"hello"
            except TimeoutError:
                return False


def canonical(address: str) -> str:
    return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address))


def open_servers() -> list[socket.socket]:
    servers = []
    for family, anyone in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for port in SERVER_PORTS:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                server = socket.socket(family, kind)
                if family == socket.AF_INET6:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((anyone, port))
                if kind == socket.SOCK_STREAM:
                    server.listen(16)
                elif family == socket.AF_INET:
                    server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                else:
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                server.setblocking(False)
                servers.append(server)
    return servers


def answer_all(selector: selectors.BaseSelector, wake: socket.socket) -> None:
    while True:
        for key, _ in selector.select():
            server = key.fileobj
            assert isinstance(server, socket.socket)
            if server is wake:
                for open_key in list(selector.get_map().values()):
                    if isinstance(open_key.fileobj, socket.socket) and open_key.fileobj is not wake:
                        open_key.fileobj.close()
                selector.close()
                return
            try:
                answer(server, key.data)
            except OSError:
                continue  # the client has gone


def answer(server: socket.socket, name: str) -> None:
    if server.type == socket.SOCK_DGRAM:
        # The answer goes out from the address that was asked (IP_PKTINFO, ip(7)), not from the nearest one.
        _, control, _, peer = server.recvmsg(200, 200)
        same = [one for one in control if one[1] in (IP_PKTINFO, socket.IPV6_PKTINFO)]
        level, kind, info = same[0]
        if kind == IP_PKTINFO:
            info = bytes(4) + info[8:12] + bytes(4)  # in_pktinfo: interface, source, destination
        elif not info.startswith(b"\xfe\x80"):
            info = info[:16] + bytes(4)
        server.sendmsg([f"{name} sees {peer[0]}".encode()], [(level, kind, info)], 0, peer)
        return
    connection, peer = server.accept()
    with connection:
        connection.settimeout(1)
        connection.send(f"{name} sees {peer[0]}".encode())
