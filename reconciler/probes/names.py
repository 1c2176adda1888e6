"""A query for a name, from inside a container (RFC 1035): what `probes.clients` needs of DNS, and no more."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address

from reconciler.probes.model import NameLookup

PORT = 53
TIMEOUT_S, TRIES = 0.7, 2
HEADER = struct.Struct("!6H")
RECURSION = 0x0100
TYPES = {4: 1, 6: 28}
"""A and AAAA."""
OUTCOMES = {0: "refused", 3: "refused", 5: "refused"}
"""NOERROR without an address, NXDOMAIN, REFUSED."""
SAID = {0: "no address", 3: "no such name", 5: "refused"}


def query(name: str, kind: int, number: int) -> bytes:
    """A query for a name."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return HEADER.pack(number, RECURSION, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def parse_answer(data: bytes, question: bytes, kind: int) -> tuple[int, tuple[str, ...]]:
    """The status of an answer, and its addresses of the kind. ValueError if it is no answer to the question."""
    if len(data) < len(question) or data[:2] != question[:2] or data[12 : len(question)] != question[12:]:
        raise ValueError("another answer")
    _, flags, _, count, _, _ = HEADER.unpack_from(data)
    place, found = len(question), []
    try:
        for _ in range(count):
            place = _skip_name(data, place)
            of, _, _, length = struct.unpack_from("!2HIH", data, place)
            place += 10
            if of == kind:
                found.append(str(ip_address(data[place : place + length])))
            place += length
    except (struct.error, IndexError):
        raise ValueError("an answer that is cut off") from None
    return flags & 0xF, tuple(sorted(found))


def _skip_name(data: bytes, place: int) -> int:
    while data[place]:
        if data[place] & 0xC0:  # the rest stands elsewhere
            return place + 2
        place += data[place] + 1
    return place + 1


def look_up_name(probe: NameLookup) -> tuple[str, str]:
    """Outcome and detail: "answered" if the addresses are those of the file, or if none is expected, any. OSError."""
    family = 6 if any(":" in address for address in probe.addresses) else 4
    question = query(probe.name, TYPES[family], int.from_bytes(os.urandom(2), "big"))
    with socket.socket(socket.AF_INET6 if probe.family == 6 else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect((probe.address, PORT))
        for _ in range(TRIES):
            try:
                client.send(question)
                status, found = parse_answer(client.recv(4096), question, TYPES[family])
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                return "refused", "no name server listens there"
            except ValueError as error:
                return "wrong", str(error)
            if not found:
                return OUTCOMES.get(status, "wrong"), SAID.get(status, f"status {status}")
            is_right = not probe.expected or found == tuple(sorted(probe.addresses))
            return ("answered", "") if is_right else ("wrong", f"the answer is {', '.join(found)}")
    return "silent", ""
