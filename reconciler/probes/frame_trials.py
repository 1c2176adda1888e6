"""Running probes by forged frames: the socket that must receive nothing, and the frames to send.

A frame that must not arrive is expected at its target. A UDP socket, or a raw ICMPv6 socket, receives exactly what the
stack of its namespace accepts, and nothing of the container's own traffic. Only a flooded frame is for no node's stack.
A packet socket looks for it, and another one for an answer from localhost. The kernel filters both by one address, so
that a busy container costs nothing (classic BPF, socket(7)).
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from reconciler.probes.frames import (
    ADVERTISED,
    ALL_NODES_MAC,
    DETOUR,
    DISCARD,
    GROUP,
    GROUPS,
    ROUTER_ADVERTISEMENT,
    STRAY,
    TCP,
    TOKEN_BYTES,
    UDP,
    Connection,
    advertisement,
    datagram,
    frame,
    introduction,
    mac_bytes,
)
from reconciler.probes.listen import ANY, open_socket
from reconciler.probes.model import FramedPacketProbe, FrameProbe
from reconciler.probes.packets import PROTOCOL, icmp6_filter
from reconciler.state.uapi import ETHERTYPE

SO_ATTACH_FILTER = 26
"""Python has no name for it (asm-generic/socket.h)."""
ICMP6_FILTER = (socket.IPPROTO_ICMPV6, 1)
LOAD = {2: 0x28, 4: 0x20}
"""BPF_LD+BPF_ABS of this many bytes (linux/bpf_common.h)."""
JUMP_IF_EQUAL, RETURN = 0x15, 0x06
SOURCE_OFFSET = {4: 12, 6: 8}
"""The offset of the source address in an IP header."""
FIRST_PORT, PORTS = 32768, 28232
"""The range from which the kernel also takes a client's ports (ip_local_port_range)."""


@dataclass(slots=True)
class FrameTrial:
    """One probe: the receiving socket, the content that it receives if the filter fails, and the frames to send."""

    ear: socket.socket
    is_heard: Callable[[bytes], bool]
    make: Callable[[bytes], Sequence[bytes]]
    """The frames, from the hardware address of the interface that sends them."""
    farewell: Callable[[bytes], Sequence[bytes]] = field(default=lambda _: ())
    foreign_mac: bytes = b""
    """A hardware address of this probe's own that a bridge must not have learned afterwards; b"" if none is used."""

    @classmethod
    def prepare(cls, probe: FrameProbe | FramedPacketProbe, enter: Callable[[str], None]) -> FrameTrial:
        """Open the receiving socket in its namespace; `enter` moves the calling thread there.

        OSError if the kernel lacks its type.
        """
        if isinstance(probe, FramedPacketProbe):
            enter(probe.netns)
            return _connection(probe)
        enter(probe.heard_in)
        return {GROUP: _to_groups, ADVERTISED: _advertised, STRAY: _astray, DETOUR: _by_gateway}[probe.kind](probe)

    def send(self, interface: str) -> None:
        """Send all frames on an interface of the calling thread's namespace. OSError."""
        _send(interface, self.make)

    def take_leave(self, interface: str) -> None:
        """Reset the connections of answering servers. OSError."""
        _send(interface, self.farewell)


def _send(interface: str, make: Callable[[bytes], Sequence[bytes]]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:  # of protocol 0, so it receives nothing
        sender.bind((interface, 0))
        for each in make(sender.getsockname()[4]):
            sender.send(each)


PROTOCOLS = {"tcp": TCP, "udp": UDP}


def _connection(probe: FramedPacketProbe) -> FrameTrial:
    """Send to a port at an address that does not belong to the hardware address, and wait for an answer from there."""
    family, source = probe.family, ip_address(probe.address).packed
    words = [(SOURCE_OFFSET[family] + index, source[index : index + 4]) for index in range(0, len(source), 4)]
    ear = _open_below(probe.interface, family, socket.SOCK_DGRAM, words)
    own_port = FIRST_PORT + int.from_bytes(os.urandom(4), "big") % PORTS
    sequence = int.from_bytes(os.urandom(4), "big")
    asked = Connection(PROTOCOLS[probe.kind], probe.claim, own_port, probe.address, probe.port)
    to = mac_bytes(probe.mac)

    def farewell(own: bytes) -> Sequence[bytes]:
        return [frame(to, own, asked.closing(sequence))] if asked.protocol == TCP else ()

    def opening(own: bytes) -> Sequence[bytes]:
        first = [introduction(own, probe.claim, probe.via)] if probe.via else []
        return [*first, frame(to, own, asked.opening(sequence))]

    return FrameTrial(ear, asked.is_answer, opening, farewell)


def _to_groups(probe: FrameProbe) -> FrameTrial:
    """A datagram for the host in frames to each link-local group, from the interface's hardware address and a foreign one."""
    ear, port, token = _open_datagrams(probe.family)
    packet = datagram(probe.claim, DISCARD, probe.address, port, token)
    foreign_mac = _draw_mac()
    return FrameTrial(
        ear,
        lambda data: data == token,
        lambda own: [frame(to, source, packet) for to in GROUPS for source in (own, foreign_mac)],
        foreign_mac=foreign_mac,
    )


def _advertised(_: FrameProbe) -> FrameTrial:
    """A router advertisement, to all nodes and to each link-local group."""
    ear = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL[6])
    ear.setsockopt(*ICMP6_FILTER, icmp6_filter(ROUTER_ADVERTISEMENT))
    token = os.urandom(TOKEN_BYTES)
    return FrameTrial(
        ear,
        lambda data: data.endswith(token),
        lambda own: [frame(to, own, advertisement(own, token)) for to in (ALL_NODES_MAC, *GROUPS)],
    )


def _astray(probe: FrameProbe) -> FrameTrial:
    """A datagram to an unused hardware address, which no socket at `heard_at` may receive."""
    token, unknown_mac = os.urandom(TOKEN_BYTES), _draw_mac()
    ear = _open_below(probe.heard_at, probe.family, socket.SOCK_RAW, ((0, unknown_mac[:4]), (4, unknown_mac[4:])))
    packet = datagram(probe.claim, DISCARD, probe.address, DISCARD, token)
    return FrameTrial(ear, lambda data: token in data, lambda own: [frame(unknown_mac, own, packet)])


def _by_gateway(probe: FrameProbe) -> FrameTrial:
    """A datagram for another container in a frame to the gateway."""
    ear, port, token = _open_datagrams(probe.family)
    packet = datagram(probe.claim, DISCARD, probe.address, port, token)
    return FrameTrial(ear, lambda data: data == token, lambda own: [frame(mac_bytes(probe.mac), own, packet)])


def _open_datagrams(family: int) -> tuple[socket.socket, int, bytes]:
    """A socket at a free port of the calling thread's namespace, that port, and the content of the datagram."""
    ear = open_socket("udp", family)
    ear.bind((ANY[family], 0))
    return ear, int(ear.getsockname()[1]), os.urandom(TOKEN_BYTES)


def _draw_mac() -> bytes:
    """An unused locally administered unicast address: those of netctl begin with 02."""
    return b"\x06" + os.urandom(5)


def _open_below(interface: str, family: int, kind: int, wanted: Sequence[tuple[int, bytes]]) -> socket.socket:
    """A packet socket on one interface that receives only frames with these bytes at these offsets: two or four each."""
    below = socket.socket(socket.AF_PACKET, kind | socket.SOCK_NONBLOCK, 0)
    try:
        program = b""
        for index, (offset, value) in enumerate(wanted):
            past_all = 2 * (len(wanted) - index) - 1  # jumps count from the next instruction
            program += struct.pack("@HBBI", LOAD[len(value)], 0, 0, offset)
            program += struct.pack("@HBBI", JUMP_IF_EQUAL, 0, past_all, int.from_bytes(value, "big"))
        program += struct.pack("@HBBI", RETURN, 0, 0, 0xFFFF) + struct.pack("@HBBI", RETURN, 0, 0, 0)
        code = array.array("B", program)
        below.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, code.buffer_info()[0]))
        below.bind((interface, ETHERTYPE[family]))  # from here on it receives
    except OSError:
        below.close()
        raise
    return below
