"""What a container's port takes in: raw frames of all sorts, and which of them a neighbour on the bridge gets to see.

Each forged frame is followed by an honest one, so that its absence is seen without waiting.
"""

from __future__ import annotations

import itertools
import socket
import struct

import pytest

from tests.harness.worlds.firewall import MEMBERS, FirewallWorld, Member

pytestmark = pytest.mark.kernel

ARP, IP4, IP6, VLAN, LLDP = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88CC
N1, N2 = MEMBERS["n1"], MEMBERS["n2"]
FOREIGN_MAC = "02:00:00:00:00:99"
GATEWAY4, GATEWAY6 = "10.91.0.1", "fd91::1"
MARK = b"mark0000"
"""Stands in every frame within the packet (br_netfilter cuts off what is behind it), and is replaced by one of its kind."""
_numbers = itertools.count(1)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, kind: int, payload: bytes) -> bytes:
    return mac(N1.mac) + mac(source) + struct.pack("!H", kind) + payload


def arp(
    operation: int, sender_mac: str, sender_ip: str, kinds: tuple[int, int, int, int] = (1, IP4, 6, 4), target_ip: str = ""
) -> bytes:
    return (
        struct.pack("!HHBBH", *kinds, operation)
        + mac(sender_mac)
        + socket.inet_aton(sender_ip)
        + bytes(6)
        + socket.inet_aton(target_ip or N1.ip4)
        + MARK
    )


def udp4(source: str, source_port: int = 1234) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(N1.ip4))
    words = struct.unpack("!10H", head)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + struct.pack("!HHHH", source_port, 9, 16, 0) + MARK


def ip6(source: str, protocol: int, payload: bytes, target: str = "fd91::10") -> bytes:
    payload += MARK
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + addresses + payload


def icmp6(source: str, kind: int, address: str = "", behind_options: bool = False) -> bytes:
    target = socket.inet_pton(socket.AF_INET6, address) if address else bytes(16)
    payload = struct.pack("!BBHI", kind, 0, 0, 0x60000000) + target
    if behind_options:  # a destination options header (RFC 8200, 4.6) in front
        return ip6(source, 60, struct.pack("!BBBB4s", 58, 0, 1, 4, bytes(4)) + payload)
    return ip6(source, 58, payload)


def passes(world: FirewallWorld, frame: bytes, sender: Member = N2) -> bool:
    """Whether n1 receives the frame that the sender puts on its wire."""
    marker, honest = (b"mark" + struct.pack("!I", next(_numbers)) for _ in range(2))
    assert MARK in frame
    with (
        world.inside("n1", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))) as receiver,
        world.inside(sender.name, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as wire,
    ):
        receiver.bind(("eth0", 3))
        wire.bind(("eth0", 0))
        receiver.settimeout(5)
        wire.send(frame.replace(MARK, marker))
        wire.send(ethernet(sender.mac, ARP, arp(1, sender.mac, sender.ip4)).replace(MARK, honest))
        seen = False
        while True:
            data = receiver.recv(2000)
            seen |= marker in data
            if honest in data:
                return seen


def test_honest_frames_pass(world: FirewallWorld) -> None:
    """The container's own MAC with its own addresses; duplicate address detection of both families."""
    assert passes(world, ethernet(N2.mac, ARP, arp(1, N2.mac, N2.ip4)))
    assert passes(world, ethernet(N2.mac, ARP, arp(2, N2.mac, N2.ip4)))
    assert passes(world, ethernet(N2.mac, ARP, arp(1, N2.mac, "0.0.0.0", target_ip=N2.ip4)))
    assert passes(world, ethernet(N2.mac, IP4, udp4(N2.ip4)))
    assert passes(world, ethernet(N2.mac, IP6, icmp6("fd91::11", 136, "fd91::11")))
    assert passes(world, ethernet(N2.mac, IP6, icmp6(N2.link_local, 135, "fd91::10")))
    assert passes(world, ethernet(N2.mac, IP6, icmp6("::", 135, "fd91::11")))


def test_mld_stays_at_its_port(world: FirewallWorld) -> None:
    """On a bridge that asks no port for listeners, a report would go to every port. It passes where the port is in a LAN."""
    reports = [ethernet(N2.mac, IP6, icmp6(source, kind)) for source in ("::", N2.link_local) for kind in (131, 143)]
    assert not any(passes(world, report) for report in reports)
    with world.elements(("lan_ports", N2.port, ""), family="bridge"):
        assert all(passes(world, report) for report in reports)


def test_another_mac_is_dropped(world: FirewallWorld) -> None:
    """Whatever it carries, also its owner's own address."""
    for source in (FOREIGN_MAC, N1.mac, MEMBERS["r1"].mac):
        assert not passes(world, ethernet(source, IP4, udp4(N2.ip4)))
        assert not passes(world, ethernet(source, ARP, arp(1, N2.mac, N2.ip4)))
        assert not passes(world, ethernet(source, IP6, icmp6("fd91::11", 135, "fd91::10")))


def test_forged_arp_is_dropped(world: FirewallWorld) -> None:
    """ARP that claims another's address, or gives an address another MAC, or is no ARP for Ethernet and IPv4."""
    for operation in (1, 2):
        for sender_mac, sender_ip in ((N2.mac, GATEWAY4), (N2.mac, N1.ip4), (FOREIGN_MAC, N2.ip4), (N1.mac, N1.ip4)):
            assert not passes(world, ethernet(N2.mac, ARP, arp(operation, sender_mac, sender_ip)))
    assert not passes(world, ethernet(N2.mac, ARP, arp(2, N2.mac, "0.0.0.0")))
    for kinds in ((6, IP4, 6, 4), (1, IP6, 6, 4), (1, IP4, 8, 4), (1, IP4, 6, 16)):
        assert not passes(world, ethernet(N2.mac, ARP, arp(1, N2.mac, N2.ip4, kinds)))


def test_forged_addresses_are_dropped(world: FirewallWorld) -> None:
    """IP packets with an address that is not the container's: another's, the gateway's, none, or a made-up link-local."""
    for source in (N1.ip4, GATEWAY4, "0.0.0.0", "10.91.0.99", "203.0.113.7"):
        assert not passes(world, ethernet(N2.mac, IP4, udp4(source)))
    for source in ("fd91::10", GATEWAY6, "::", "fe80::1", "2001:db8::7", N1.link_local):
        assert not passes(world, ethernet(N2.mac, IP6, ip6(source, 17, struct.pack("!HHHH", 9, 9, 16, 0))))


def test_forged_neighbour_discovery_is_dropped(world: FirewallWorld) -> None:
    """Router advertisements, redirects, and advertisements for an address that is another's, behind an options header too."""
    for source in ("fd91::11", N2.link_local):
        for behind_options in (False, True):
            assert not passes(world, ethernet(N2.mac, IP6, icmp6(source, 134, behind_options=behind_options)))
            assert not passes(world, ethernet(N2.mac, IP6, icmp6(source, 137, behind_options=behind_options)))
            assert not passes(world, ethernet(N2.mac, IP6, icmp6(source, 136, GATEWAY6, behind_options)))
            assert not passes(world, ethernet(N2.mac, IP6, icmp6(source, 136, "fd91::10", behind_options)))
    assert not passes(world, ethernet(N2.mac, IP6, icmp6("::", 135, "fd91::10")))
    assert not passes(world, ethernet(N2.mac, IP6, icmp6("::", 136, "fd91::11")))


def test_servers_of_dhcp_and_other_protocols_are_dropped(world: FirewallWorld) -> None:
    """A container gives no node an address, and speaks nothing but ARP and IP: no VLAN tag, no LLDP."""
    assert not passes(world, ethernet(N2.mac, IP4, udp4(N2.ip4, 67)))
    assert not passes(world, ethernet(N2.mac, IP6, ip6(N2.link_local, 17, struct.pack("!HHHH", 547, 546, 16, 0))))
    assert not passes(world, ethernet(N2.mac, LLDP, bytes(46) + MARK))
    for tag in (VLAN, 0x88A8):
        for vlan in (0, 7):
            for forged in (N1.ip4, N2.ip4):
                assert not passes(world, ethernet(N2.mac, tag, struct.pack("!HH", vlan, IP4) + udp4(forged)))


def test_an_address_of_one_port_is_good_on_another_of_the_same_container(world: FirewallWorld) -> None:
    """Replies for a second address leave by the default route: what counts is that the address is the container's own."""
    with world.elements(("addresses4", f"{N2.port} . {N2.mac} . 10.91.1.50", ""), family="bridge"):
        assert passes(world, ethernet(N2.mac, IP4, udp4("10.91.1.50")))
    assert not passes(world, ethernet(N2.mac, IP4, udp4("10.91.1.50")))


# --- SCTP, of which a kernel may forward and translate what it cannot speak itself ---


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_init(source_port: int, target_port: int) -> bytes:
    """A packet with one INIT chunk (RFC 9260, 3.3.2)."""
    head = struct.pack("!HHI", source_port, target_port, 0)
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def test_published_sctp_ports_are_translated(world: FirewallWorld) -> None:
    """An INIT to the host's port arrives at the container's port; one to another port does not."""
    with (
        world.elements(("published4", "sctp . 3868", "10.91.0.16 . 90")),
        world.inside("n1", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)) as receiver,
        world.inside("outside", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)) as sender,
    ):
        receiver.settimeout(5)
        for port in (3869, 3868):
            sender.sendto(sctp_init(4000 + port, port), ("192.0.2.11", 0))
        packet = receiver.recv(200)
        source, target = struct.unpack_from("!HH", packet, 20)
        assert (socket.inet_ntoa(packet[12:16]), source, target) == ("192.0.2.10", 7868, 90)
