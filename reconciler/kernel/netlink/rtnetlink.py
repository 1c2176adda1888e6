"""Rtnetlink as bytes: messages, batches with one answer, and dumps that are complete or raise (rtnetlink(7), netlink(7)).

A thousand containers are five thousand messages, and a library's codecs cost ten times the kernel's time. So `struct`
encodes the few frequent messages. The cost grows with the number of messages, not of round trips.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import eq
from typing import TypeVar

from reconciler.errors import HostError
from reconciler.kernel.netlink.memo import DumpMemo, Same, Split

T = TypeVar("T")
V = TypeVar("V")

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
FLAGS_AND_SEQUENCE = struct.Struct("=HI")
TIMEVAL = struct.Struct("@ll")  # timeval(3type)
_u32 = struct.Struct("=I")
FLAGS_OFFSET = 6

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_APPEND = 0x400, 0x200, 0x100, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in answers
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12

CHUNK_MESSAGES = 100
"""The messages of one send: enough to make its cost negligible, and few enough for all their errors in a receive buffer."""
CHUNK_BYTES = 60_000
RECEIVE_BYTES = 1 << 16  # the kernel fills at most 32 KiB of a dump at once
DUMP_TRIES = 8
ANSWER_TIMEOUT_S = 60
"""The deletion of a thousand links by group takes a second; a missing answer must not block netctl."""


class NetlinkError(HostError):
    """The kernel rejected a request or aborted a dump; `number` is the errno, 0 if there is none."""

    def __init__(self, message: str, number: int = 0) -> None:
        """`message` is a sentence."""
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message of a batch that failed: its index, the errno, and the kernel's own words, if any."""

    index: int
    number: int
    words: str

    def __str__(self) -> str:
        """`File exists (EEXIST): the kernel's words`."""
        return describe_errno(self.number) + (f": {self.words}" if self.words else "")


def describe_errno(number: int) -> str:
    """`File exists (EEXIST)`."""
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"


def attribute(number: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), number) + value + bytes(-len(value) & 3)


def message(number: int, flags: int, body: bytes) -> bytearray:
    """One request, without its sequence number."""
    return bytearray(HEADER.pack(HEADER.size + len(body), number, flags | NLM_F_REQUEST, 0, 0) + body)


def parse_attributes(data: memoryview, offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """The attributes from `offset` on, as (type, value). NetlinkError if one is truncated."""
    end = len(data)
    while offset + 4 <= end:
        length, number = ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise NetlinkError("an attribute in the kernel's answer is truncated")
        yield number & NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def find_attributes(data: memoryview, offset: int, wanted: Container[int]) -> dict[int, memoryview]:
    """The requested ones of the attributes from `offset` on, by type. NetlinkError if one is truncated.

    A link has fifty attributes, of which a dozen matter, and a reading parses three thousand links: this loop is its
    cost.
    """
    found: dict[int, memoryview] = {}
    end = len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, number = unpack(data, offset)
        if length < 4 or offset + length > end:
            raise NetlinkError("an attribute in the kernel's answer is truncated")
        number &= NLA_TYPE_MASK
        if number in wanted:
            found[number] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def parse_messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """The messages of one datagram, as (type, flags, sequence, body). NetlinkError if one is truncated."""
    view, offset = memoryview(data), 0
    while offset + HEADER.size <= len(view):
        length, number, flags, sequence, _ = HEADER.unpack_from(view, offset)
        if length < HEADER.size or offset + length > len(view):
            raise NetlinkError("a message of the kernel is truncated")
        yield number, flags, sequence, view[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def parse_objects(datagrams: Iterable[bytes]) -> Iterator[tuple[int, memoryview]]:
    """The objects of a dump, as (type, body)."""
    for data in datagrams:
        for kind, _, _, body in parse_messages(data):
            if kind not in (NLMSG_ERROR, NLMSG_DONE):
                yield kind, body


def parse_error(flags: int, body: memoryview, *, is_done: bool = False) -> tuple[int, str]:
    """The errno of an NLMSG_ERROR or NLMSG_DONE (0: none), and the kernel's words (NETLINK_EXT_ACK).

    An NLMSG_ERROR quotes the request, or its header, before the words; NLMSG_DONE does not.
    """
    if len(body) < 4:
        return 0, ""
    number: int = -struct.unpack_from("=i", body)[0]
    words = ""
    if flags & NLM_F_ACK_TLVS and (is_done or len(body) >= 4 + HEADER.size):
        offset = 4
        if not is_done:
            quoted_bytes = HEADER.size if flags & NLM_F_CAPPED else HEADER.unpack_from(body, 4)[0]
            offset += (quoted_bytes + 3) & ~3
        for kind, value in parse_attributes(body, offset):
            if kind == NLMSGERR_ATTR_MSG:
                words = parse_text(value)
    return number, words


def parse_text(value: memoryview) -> str:
    """A string of the kernel, without its closing NUL."""
    return bytes(value).rstrip(b"\0").decode("utf-8", "replace")


def parse_u32(value: memoryview) -> int:
    """A number of four bytes."""
    if len(value) != 4:
        raise NetlinkError("a number in the kernel's answer has the wrong size")
    number: int = _u32.unpack(value)[0]
    return number


def parse_ip(family: int, value: memoryview) -> str:
    """An address in its usual form."""
    try:
        return socket.inet_ntop(family, value)
    except (OSError, ValueError) as error:
        raise NetlinkError("an address in the kernel's answer has the wrong size") from error


def text_of(found: Mapping[int, memoryview], number: int) -> str:
    """The text of an attribute, "" if it is missing."""
    return parse_text(found[number]) if number in found else ""


def u32_of(found: Mapping[int, memoryview], number: int) -> int:
    """The number of an attribute, 0 if it is missing."""
    return parse_u32(found[number]) if number in found else 0


def mac_of(found: Mapping[int, memoryview], number: int) -> str:
    """The hardware address of an attribute, "" if it is missing."""
    return bytes(found[number]).hex(":") if number in found else ""


def ip_of(family: int, found: Mapping[int, memoryview], number: int) -> str:
    """The IP address of an attribute, "" if it is missing."""
    return parse_ip(family, found[number]) if number in found else ""


class RouteSocket:
    """A NETLINK_ROUTE socket in the namespace of the thread that creates it. One thread at a time may use it."""

    def __init__(self, *, restless: bool = False, memo: DumpMemo | None = None) -> None:
        """OSError if the kernel gives none (no more descriptors). `memo` is of the same namespace, for repeated readings.

        In a `restless` namespace another program may change links without end, so that every dump is interrupted. Then
        the last of several tries counts. Such a namespace is a container's: if its root hides anything from netctl,
        only the container loses.
        """
        self.restless = restless
        self._memo = memo
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        # Not `settimeout`, with which Python calls poll(2) before each of thousands of calls.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, TIMEVAL.pack(ANSWER_TIMEOUT_S, 0))
        self._sequence = 0

    def fileno(self) -> int:
        """The descriptor, for ioctl(2)."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket, which also releases its namespace."""
        self._socket.close()

    def request(self, messages: Sequence[bytearray]) -> list[Refusal]:
        """Send messages in order, and return the failed ones. A failure does not stop the later ones."""
        refusals: list[Refusal] = []
        first = 0
        while first < len(messages):
            last, size = first, 0
            while last < len(messages) and last - first < CHUNK_MESSAGES and (last == first or size < CHUNK_BYTES):
                size += len(messages[last])
                last += 1
            refusals += self._request_chunk(messages[first:last], first)
            first = last
        return refusals

    def _request_chunk(self, messages: Sequence[bytearray], first: int) -> list[Refusal]:
        """One send; only the last message requests an answer, but each failure has one, with its sequence number."""
        base = self._sequence + 1
        self._sequence += len(messages)
        for index, one in enumerate(messages):
            flags = HEADER.unpack_from(one)[2] & ~NLM_F_ACK
            if index == len(messages) - 1:
                flags |= NLM_F_ACK
            FLAGS_AND_SEQUENCE.pack_into(one, FLAGS_OFFSET, flags, base + index)
        self._send(b"".join(messages))
        refusals: list[Refusal] = []
        while True:
            for number, flags, sequence, body in parse_messages(self._receive()):
                if number != NLMSG_ERROR or sequence < base:
                    continue
                code, words = parse_error(flags, body)
                if code:
                    refusals.append(Refusal(first + sequence - base, code, words))
                if sequence == self._sequence:
                    return refusals

    def get(self, request: bytearray) -> memoryview | None:
        """The body of the one object that the request names; None if it does not exist (ENODEV, ENOENT, ESRCH)."""
        self._sequence += 1
        FLAGS_AND_SEQUENCE.pack_into(request, FLAGS_OFFSET, NLM_F_REQUEST, self._sequence)
        self._send(bytes(request))
        while True:
            for number, flags, sequence, body in parse_messages(self._receive()):
                if sequence != self._sequence:
                    continue
                if number != NLMSG_ERROR:
                    return body
                code, words = parse_error(flags, body)
                if code in (errno.ENODEV, errno.ENOENT, errno.ESRCH):
                    return None
                raise NetlinkError(f"a request failed: {Refusal(0, code, words)}", code)

    def dump(self, number: int, body: bytes) -> list[tuple[int, memoryview]]:
        """All objects of a dump, as (type, body). It is complete, or raises NetlinkError: an error is never an empty dump."""
        return list(parse_objects(self._fetch(number, body, ())))

    def read(
        self,
        request: tuple[int, bytes],
        kind: int,
        parse: Callable[[memoryview], T | None],
        gather: Callable[[list[T]], V],
        same: Same = eq,
        key: Callable[[memoryview], bytes] | None = None,
    ) -> V:
        """The value of a dump: its messages of one kind, parsed, and gathered without None. NetlinkError."""
        answer = self._fetch(*request, self._memo.answer_to(request) if self._memo and not key else ())

        def split(datagrams: Sequence[bytes]) -> Iterator[memoryview]:
            return (data for each, data in parse_objects(datagrams) if each == kind)

        return self._gather(request, answer, split, parse, gather, same=same, key=key)

    def read_object(
        self,
        name: Hashable,
        request: bytearray,
        parse: Callable[[memoryview], T | None],
        gather: Callable[[list[T]], V],
        same: Same = eq,
    ) -> V:
        """The same of the one object that the request names, which may not exist. `name` is the request's in the memory."""
        data = self.get(request)
        answer = () if data is None else (bytes(data),)
        return self._gather(name, answer, lambda found: map(memoryview, found), parse, gather, same=same)

    def _gather(
        self,
        request: Hashable,
        answer: Sequence[bytes],
        split: Split,
        parse: Callable[[memoryview], T | None],
        gather: Callable[[list[T]], V],
        *,
        same: Same,
        key: Callable[[memoryview], bytes] | None = None,
    ) -> V:
        """The value of an answer; only what is new is parsed if there is a memory of the last ones."""
        if self._memo is None:
            return gather([one for data in split(answer) if (one := parse(data)) is not None])
        return self._memo.parse(request, answer, split, parse, gather, same=same, key=key)

    def _fetch(self, number: int, body: bytes, expected: Sequence[bytes]) -> Sequence[bytes]:
        """The datagrams of a dump. They are not parsed as long as they are the `expected` ones."""
        found: Sequence[bytes] = ()
        for _ in range(DUMP_TRIES):
            found, interrupted = self._fetch_once(number, body, expected)
            if not interrupted:
                return found
        if self.restless:
            return found
        raise NetlinkError(f"the kernel's tables changed in each of {DUMP_TRIES} readings", errno.EINTR)

    def _fetch_once(self, number: int, body: bytes, expected: Sequence[bytes]) -> tuple[Sequence[bytes], bool]:
        """The datagrams, and whether the kernel says that the objects changed meanwhile (NLM_F_DUMP_INTR)."""
        self._sequence += 1
        request = message(number, NLM_F_DUMP, body)
        FLAGS_AND_SEQUENCE.pack_into(request, FLAGS_OFFSET, NLM_F_REQUEST | NLM_F_DUMP, self._sequence)
        self._send(request)
        received: list[bytes] = []
        for one in expected:
            received.append(self._receive())
            if received[-1] != one:
                break
        else:
            if expected:  # the last one of a complete dump has its end
                return expected, False
        found: list[bytes] = []
        interrupted = False
        for data in chain(received, iter(self._receive, b"")):
            own = data
            for kind, flags, sequence, content in parse_messages(data):
                if sequence != self._sequence:  # what is left of an earlier request comes first
                    own = own[(HEADER.size + len(content) + 3) & ~3 :]
                    continue
                interrupted |= bool(flags & NLM_F_DUMP_INTR)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    code, words = parse_error(flags, content, is_done=kind == NLMSG_DONE)
                    if code and code != errno.EINTR:
                        raise NetlinkError(f"a dump failed: {Refusal(0, code, words)}", code)
                    return (*found, own), interrupted or bool(code)
            found.append(own)
        raise NetlinkError("the kernel's answer has no end")

    def _send(self, data: bytes | bytearray) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetlinkError(f"netlink send failed: {error.strerror or error}", error.errno or 0) from error

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except OSError as error:
            raise NetlinkError(f"netlink receive failed: {error.strerror or error}", error.errno or 0) from error
