"""The clients of verification: every probe of a host at once, in one thread and one event loop.

A socket stays in the namespace where it was created. So the thread enters one namespace after the other, creates the
sockets, and then waits for all answers together. A probe that must fail costs its timeout, and all of them cost it
once. ICMP uses one raw socket per namespace and family; the sequence numbers identify its answers.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reconciler.kernel.netlink.neighbors import read_learnt
from reconciler.kernel.netlink.rtnetlink import RouteSocket
from reconciler.probes.frame_trials import FrameTrial
from reconciler.probes.listen import FAMILIES, open_socket
from reconciler.probes.lookup import compare_route
from reconciler.probes.model import (
    FOREIGN_NETNS,
    ClaimProbe,
    Finding,
    FramedPacketProbe,
    FrameProbe,
    NameLookup,
    PacketProbe,
    Probe,
    RouteLookup,
)
from reconciler.probes.names import look_up_name
from reconciler.probes.packets import PROTOCOL, echo_packet, echo_request, icmp6_filter, parse_icmp, parse_ip
from reconciler.probes.spoofing import is_heard, open_below, send_claim
from reconciler.state.ref import HOST
from reconciler.state.uapi import ETHERTYPE

ANSWER_TIMEOUT_S = 2.0
"""The timeout of an expected answer: time for a second SYN, or a second neighbor solicitation (both 1 s)."""
SILENCE_TIMEOUT_S = 1.0
"""The timeout if no answer is expected."""
PAST_ROUTES_TIMEOUT_S = 1.5
"""The same, if a neighbor must be resolved first."""
REPEAT_S = (0.3, 0.7)
"""The times of repeats without an answer: the first datagram or frame may have been lost, for example to address resolution."""
AT_ONCE = 1000
"""The packets read from one socket before other sockets and the clock: a container may send without end."""
PMTUDISC_DO = 2
RAW_FILTER = {4: (255, 1), 6: (58, 1)}
"""SOL_RAW/ICMP_FILTER and SOL_ICMPV6/ICMP6_FILTER: types that the socket does not receive."""
REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EMSGSIZE)


@dataclass(slots=True)
class Attempt:
    """A running probe: its number (an ICMP sequence number too), its socket, and its state."""

    number: int
    probe: Probe
    token: str
    """The expected content of the answer; "" if any answer will do."""
    socket: socket.socket | None = None
    finding: Finding | None = None
    learnt: tuple[str, bytes, str] | None = None
    """For a probe past the routes: interface and MAC of the neighbor, and the own address, once they are known."""
    trial: FrameTrial | None = None
    """For a probe by forged frames."""


@dataclass(slots=True)
class Clients:
    """One run of probes, of at most 65,000."""

    probes: Sequence[Probe]
    tokens: Sequence[str]
    enter: Callable[[str], None]
    identifier: int = field(default_factory=lambda: struct.unpack("!H", os.urandom(2))[0])
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    raw: dict[tuple[str, int], socket.socket] = field(default_factory=dict)
    begun: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    open_count: int = 0

    def run(self) -> tuple[Finding, ...]:
        """Send all, collect the answers, close all sockets. For a thread that may leave its namespace."""
        self.attempts = [Attempt(i, p, t) for i, (p, t) in enumerate(zip(self.probes, self.tokens, strict=True))]
        self.open_count = len(self.attempts)
        self.begun = time.monotonic()
        try:
            for attempt in sorted(self.attempts, key=lambda a: a.probe.netns):
                self._start(attempt)
            self.begun = time.monotonic()
            self._wait()
            self._find_learnt()
        finally:
            for key in tuple(self.selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
            self.selector.close()
        return tuple(a.finding or Finding("silent", elapsed_ms=self._elapsed_ms()) for a in self.attempts)

    def _elapsed_ms(self) -> float:
        return round((time.monotonic() - self.begun) * 1000, 1)

    def _end(self, attempt: Attempt, outcome: str, detail: str = "") -> None:
        if attempt.finding is None:
            attempt.finding = Finding(outcome, detail, self._elapsed_ms())
            self.open_count -= 1
        if attempt.socket:
            self.selector.unregister(attempt.socket)
            attempt.socket.close()
            attempt.socket = None

    # --- sending ---

    def _start(self, attempt: Attempt) -> None:
        probe = attempt.probe
        try:
            self.enter(probe.netns)
            match probe:
                case FrameProbe() | FramedPacketProbe():
                    self._start_trial(attempt, FrameTrial.prepare(probe, self.enter))
                case ClaimProbe():
                    self._start_claiming(attempt, probe)
                case RouteLookup():
                    self._end(attempt, *compare_route(probe))
                case NameLookup():
                    self._end(attempt, *look_up_name(probe))
                case PacketProbe(kind="icmp", via=""):
                    self._raw_socket(probe.netns, probe.family)
                    self._send(attempt)
                case PacketProbe(kind="icmp"):
                    self._start_past_routes(attempt, probe)
                case PacketProbe():
                    self._start_stream_or_datagram(attempt, probe)
        except OSError as error:
            absent = error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT)
            reason = f"this kernel has no {probe.kind}" if absent else (error.strerror or str(error))
            self._end(attempt, "skipped" if absent else "unsent", reason)

    def _start_stream_or_datagram(self, attempt: Attempt, probe: PacketProbe) -> None:
        client = open_socket(probe.kind, probe.family)
        status = client.connect_ex((probe.address, probe.port))
        if status not in (0, errno.EINPROGRESS):
            client.close()
            raise OSError(status, os.strerror(status))
        attempt.socket = client
        events = selectors.EVENT_READ if probe.kind == "udp" else selectors.EVENT_WRITE
        self.selector.register(client, events, attempt)
        if probe.kind == "udp":
            self._send(attempt)

    def _start_claiming(self, attempt: Attempt, probe: ClaimProbe) -> None:
        self.enter(HOST if probe.heard_at else probe.netns)
        attempt.socket = open_below(probe.heard_at or probe.interface, probe.kind)
        self.selector.register(attempt.socket, selectors.EVENT_READ, attempt)
        self._send(attempt)

    def _start_trial(self, attempt: Attempt, trial: FrameTrial) -> None:
        attempt.trial, attempt.socket = trial, trial.ear
        self.selector.register(attempt.socket, selectors.EVENT_READ, attempt)
        self._send(attempt)

    def _start_past_routes(self, attempt: Attempt, probe: PacketProbe) -> None:
        """Send an echo request to the neighbor first: the answer's frame shows its hardware address and the own interface."""
        family = probe.family
        below = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETHERTYPE[family]))
        attempt.socket = below
        self.selector.register(below, selectors.EVENT_READ, attempt)
        self._raw_socket(probe.netns, family)
        attempt.learnt = ("", b"", own_address(family, probe.via))
        self._send(attempt)

    def _raw_socket(self, netns: str, family: int) -> socket.socket:
        if (netns, family) in self.raw:
            return self.raw[netns, family]
        raw = socket.socket(FAMILIES[family], socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL[family])
        self.raw[netns, family] = raw
        self.selector.register(raw, selectors.EVENT_READ, family)
        raw.setsockopt(*RAW_FILTER[family], icmp_filter(family))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        # IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: with DF set, and without fragmentation on the way out.
        raw.setsockopt(*((0, 10) if family == 4 else (41, 23)), PMTUDISC_DO)
        return raw

    def _send(self, attempt: Attempt) -> None:
        match attempt.probe:
            case FrameProbe() | FramedPacketProbe() as probe:
                self.enter(probe.netns)
                assert attempt.trial
                attempt.trial.send(probe.interface)
            case ClaimProbe() as probe:
                self.enter(probe.netns)
                own = own_address(probe.family, probe.address) if probe.heard_at else ""
                with open_below(probe.interface, probe.kind) as below:
                    send_claim(below, probe.kind, probe.claim, probe.address, own)
            case PacketProbe(kind="udp"):
                assert attempt.socket
                attempt.socket.send(b"netctl")
            case PacketProbe() as probe:
                self._send_echo_request(attempt, probe)

    def _send_echo_request(self, attempt: Attempt, probe: PacketProbe) -> None:
        if attempt.learnt and attempt.learnt[0]:
            interface, mac, source = attempt.learnt
            assert attempt.socket
            packet = echo_packet(source, probe.address, self.identifier, attempt.number)
            attempt.socket.sendto(packet, (interface, ETHERTYPE[probe.family], 0, 0, mac))
            return
        raw = self.raw[probe.netns, probe.family]
        request = echo_request(probe.family, self.identifier, attempt.number, probe.size)
        raw.sendto(request, (probe.via or probe.address, 0))

    # --- waiting ---

    def _wait(self) -> None:
        repeats = list(REPEAT_S)
        while open_attempts := [a for a in self.attempts if a.finding is None]:
            now = time.monotonic() - self.begun
            for attempt in open_attempts:
                if now >= timeout_s(attempt.probe):
                    self._end(attempt, "silent")
            if repeats and now >= repeats[0]:
                repeats.pop(0)
                self._repeat(open_attempts)
            deadline = min(timeout_s(a.probe) for a in open_attempts)
            due = min([deadline, *repeats[:1]]) - now
            self._collect_until(self.begun + now + max(due, 0.01))

    def _collect_until(self, moment: float) -> None:
        """Handle answers until the moment, or until no probe is open."""
        while (left_s := moment - time.monotonic()) > 0:
            ready = self.selector.select(left_s)
            for key, _ in ready:
                self._receive(key)
            if not self.open_count:
                return

    def _repeat(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            if attempt.finding is None and is_repeated(attempt.probe):
                try:
                    self._send(attempt)
                except OSError as error:
                    self._fail(attempt, error)

    def _fail(self, attempt: Attempt, error: OSError) -> None:
        outcome = "refused" if error.errno in REFUSED else "unsent"
        self._end(attempt, outcome, error.strerror or str(error))

    def _receive(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)
        if not isinstance(key.data, Attempt):
            self._receive_icmp(key.fileobj, key.data)
        elif key.data.socket is key.fileobj:  # else it has ended earlier in this round
            try:
                self._receive_for(key.data, key.fileobj, is_writable=bool(key.events & selectors.EVENT_WRITE))
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(key.data, error)

    def _receive_for(self, attempt: Attempt, ready: socket.socket, *, is_writable: bool) -> None:
        match attempt.probe:
            case FrameProbe() | FramedPacketProbe() as probe:
                self._receive_trial(attempt, probe, ready)
            case ClaimProbe() as probe:
                self._receive_claim(attempt, probe, ready)
            case PacketProbe() as probe if probe.via:
                self._receive_past_routes(attempt, probe, ready)
            case _ if is_writable:
                self._connected(attempt, ready)
            case _:
                self._answered(attempt, ready.recv(2048))

    def _connected(self, attempt: Attempt, client: socket.socket) -> None:
        status = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        if attempt.token:
            self.selector.modify(client, selectors.EVENT_READ, attempt)
        else:
            self._end(attempt, "answered")

    def _answered(self, attempt: Attempt, data: bytes) -> None:
        said = data.decode(errors="replace")
        if not attempt.token or said == attempt.token:
            self._end(attempt, "answered")
        elif said.startswith("netctl "):
            self._end(attempt, "wrong", f"answered by {said.rpartition(' ')[2]}")
        else:
            self._end(attempt, "wrong", "another server answered")

    def _receive_icmp(self, raw: socket.socket, family: int) -> None:
        for _ in range(AT_ONCE):
            try:
                data, sender = raw.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:  # an error that was queued for the socket: the ICMP message itself arrives too
                continue
            message = data[(data[0] & 15) * 4 :] if family == 4 else data
            echo = parse_icmp(family, message, str(sender[0]).partition("%")[0])
            if echo is None or echo.identifier != self.identifier or echo.sequence >= len(self.attempts):
                continue
            attempt = self.attempts[echo.sequence]
            if attempt.learnt:
                continue  # its own socket hears of it
            if echo.error:
                self._end(attempt, "refused", f"{echo.error}, says {echo.source}")
            else:
                self._end(attempt, "answered")

    def _receive_claim(self, attempt: Attempt, probe: ClaimProbe, below: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if is_heard(below.recv(128), probe.kind, probe.claim, probe.address):
                self._end(attempt, "answered")
                return

    def _receive_trial(self, attempt: Attempt, probe: FrameProbe | FramedPacketProbe, ear: socket.socket) -> None:
        trial = attempt.trial
        for _ in range(AT_ONCE):
            if trial and trial.is_heard(ear.recv(2048)):
                self.enter(probe.netns)
                trial.take_leave(probe.interface)
                self._end(attempt, "answered")
                return

    def _find_learnt(self) -> None:
        """Find bridges that have learned the source of a frame which they should not have processed: the probe then fails."""
        sent = {a.trial.foreign_mac.hex(":"): a for a in self.attempts if a.trial and a.trial.foreign_mac and is_silent(a)}
        if not sent:
            return
        self.enter(HOST)
        route_socket = RouteSocket()
        try:
            learnt = read_learnt(route_socket)
        finally:
            route_socket.close()
        for mac in learnt.intersection(sent):
            sent[mac].finding = Finding("answered", "the bridge has learned its source address", self._elapsed_ms())

    def _receive_past_routes(self, attempt: Attempt, probe: PacketProbe, below: socket.socket) -> None:
        for _ in range(AT_ONCE):
            data, (interface, _, _, _, mac) = below.recvfrom(65535)
            family, source, message = parse_ip(data)
            echo = parse_icmp(family, message, source) if family else None
            if not echo or echo.identifier != self.identifier or echo.sequence != attempt.number or echo.error:
                continue
            if source == probe.address:
                self._end(attempt, "answered")
                return
            if source == probe.via and attempt.learnt and not attempt.learnt[0]:
                attempt.learnt = (interface, mac, attempt.learnt[2])
                self._send(attempt)


def own_address(family: int, target: str) -> str:
    """The source address of the calling thread's namespace towards the target. OSError if it has no route."""
    with socket.socket(FAMILIES[family], socket.SOCK_DGRAM) as finder:
        finder.connect((target, 9))  # no packet: the kernel chooses the source address
        return str(finder.getsockname()[0])


def is_silent(attempt: Attempt) -> bool:
    """Whether its timeout is over, and nothing was received."""
    return bool(attempt.finding and attempt.finding.outcome == "silent")


def is_repeated(probe: Probe) -> bool:
    """Whether it is sent again while there is no answer, because the kernel does not do that by itself."""
    match probe:
        case PacketProbe():
            return probe.kind in ("icmp", "udp")
        case _:
            return not isinstance(probe, RouteLookup | NameLookup)


def timeout_s(probe: Probe) -> float:
    """The timeout of a probe."""
    if probe.expected:
        return ANSWER_TIMEOUT_S
    is_found_first = isinstance(probe, PacketProbe) and probe.via and probe.netns != FOREIGN_NETNS
    return PAST_ROUTES_TIMEOUT_S if is_found_first else SILENCE_TIMEOUT_S


def icmp_filter(family: int) -> bytes:
    """The option's value that passes echo replies and errors only (linux/icmp.h, RFC 3542)."""
    if family == 4:
        return struct.pack("@I", 0xFFFFFFFF & ~(1 << 0 | 1 << 3 | 1 << 11))
    return icmp6_filter(1, 2, 3, 129)
