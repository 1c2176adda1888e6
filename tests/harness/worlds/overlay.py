"""A topology on lab hosts, applied by netctl, and plain means to look at it from inside: ping, sockets, raw frames.

Nothing here asks netctl whether it works: packets do.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from reconciler.kernel.namespaces import enter, run_in_thread
from tests.harness.netctl import Outcome, run_netctl
from tests.harness.netns import Namespace

ETH_P_ALL, ETH_P_ARP = 0x0003, 0x0806
PATIENCE_S = 2.0
"""For what must arrive."""
QUIET_S = 0.4
"""For what must not."""


@dataclass(frozen=True, slots=True)
class LabWorld:
    """`name` is the topology's; `file` is where its text is written."""

    name: str
    file: Path

    def apply(self, text: str) -> Outcome:
        """Write the file, and make it so."""
        self.file.write_text(text.replace("NAME", self.name))
        done = run_netctl("apply", self.file)
        assert done.status == 0, done.err + done.out
        return done

    def refused(self, text: str) -> Outcome:
        """Write the file, which must not be applied."""
        self.file.write_text(text.replace("NAME", self.name))
        done = run_netctl("apply", self.file)
        assert done.status != 0
        return done

    def verify(self) -> None:
        """What netctl says of it."""
        done = run_netctl("verify", self.file)
        assert done.status == 0, done.out + done.err

    def inside(self, member: str) -> Namespace:
        """A container (`web`), or a member of the lab (`lab.alpha`)."""
        return Namespace(f"{self.name}.{member}")

    def addresses(self, member: str, dev: str = "eth0") -> list[str]:
        """The global addresses of a link, without lengths, IPv4 first."""
        shown = self.inside(member).run("ip", "-o", "address", "show", "dev", dev, "scope", "global").stdout
        return sorted((line.split()[3].partition("/")[0] for line in shown.splitlines()), key=lambda a: ":" in a)

    def open(self, member: str, family: socket.AddressFamily, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that belongs to the member's namespace, wherever it is used."""

        def make() -> socket.socket:
            enter(str(self.inside(member).path))
            return socket.socket(family, kind, protocol)

        opened = run_in_thread(make)
        opened.settimeout(PATIENCE_S)
        return opened

    # --- reaching ---

    def unreachable(self, pairs: Iterable[tuple[str, str]], size: int = 0) -> list[tuple[str, str]]:
        """Of pairs (member, address) those where a ping is not answered, all asked at once. `size`: of a packet, with DF."""
        waiting = []
        for member, address in dict.fromkeys(pairs):
            headers = 48 if ":" in address else 28
            sized = ["-M", "do", "-s", str(size - headers)] if size else []
            waiting.append(((member, address), self.inside(member).start("ping", "-c1", "-W2", *sized, address)))
        failed = []
        for pair, process in waiting:
            if process.wait() != 0:
                failed.append(pair)
            if process.stdout:
                process.stdout.close()
        return failed

    @contextmanager
    def serving(self, member: str, port: int) -> Iterator[None]:
        """A TCP server, of both families, that says `<member> <address of the client>` and closes."""
        with closing(self.open(member, socket.AF_INET6, socket.SOCK_STREAM)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::", port))
            server.listen(64)
            server.settimeout(0.05)
            stop = threading.Event()

            def answer() -> None:
                while not stop.is_set():
                    try:
                        client, (address, *_) = server.accept()
                    except TimeoutError:
                        continue
                    with client:
                        client.sendall(f"{member} {address.removeprefix('::ffff:')}".encode())

            thread = threading.Thread(target=answer)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    def ask(self, member: str, address: str, port: int) -> str:
        """What a server says to a client in `member`; "" if no server answers, or it is refused."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with closing(self.open(member, family, socket.SOCK_STREAM)) as client:
            try:
                client.connect((address, port))
                return client.recv(100).decode()
            except OSError:
                return ""


def vxlan_packet(vni: int, frame: bytes) -> bytes:
    """The payload of a UDP packet that brings `frame` into a VXLAN (RFC 7348, section 5)."""
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def broadcast_frame(source_mac: str, source: str, payload: bytes, port: int = 7777) -> bytes:
    """A UDP broadcast over IPv4 and Ethernet, whole, from a sender who may not exist."""
    udp = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, ip_address(source).packed, ip_address("255.255.255.255").packed
    )
    total = sum(struct.unpack("!10H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", checksum) + head[12:]
    return b"\xff" * 6 + bytes.fromhex(source_mac.replace(":", "")) + b"\x08\x00" + head + udp


def received(server: socket.socket, payload: bytes, patience_s: float) -> bool:
    """Whether the payload comes to the socket in time, whatever else does."""
    deadline = time.monotonic() + patience_s
    while (left := deadline - time.monotonic()) > 0:
        server.settimeout(left)
        try:
            if payload in server.recv(65535):
                return True
        except TimeoutError:
            break
    return False


def count_changes(plan: Outcome) -> int:
    """Out of the last line of a plan, `Plan: … (12 changes)`."""
    found = re.search(r"^Plan: .*\(([\d,]+) changes?\)$", plan.out, re.MULTILINE)
    assert found, plan.out
    return int(found[1].replace(",", ""))


def attach_rogue(world: LabWorld, bridge: str, address: str) -> Namespace:
    """A node that the file does not declare, on a segment of the lab's underlay."""
    rogue = Namespace(f"{world.name}.rogue")
    subprocess.run(["ip", "netns", "add", rogue.name], check=True)
    router = world.inside("lab.router")
    router.run("ip", "link", "add", "rogue", "type", "veth", "peer", "name", "eth0", "netns", rogue.name)
    router.run("ip", "link", "set", "rogue", "master", bridge, "up")
    for words in ("link set lo up", "link set eth0 up", f"address add {address} dev eth0", "route add 224.0.0.0/4 dev eth0"):
        rogue.run("ip", *words.split())
    return rogue
