"""Forgets connections, so that UDP flows follow a published port that was changed. Called by the executor.

A conntrack entry keeps its translation for as long as packets come. Entries are found by their original destination port,
which is the host's port, and deleted by their whole original tuple (ctnetlink, linux/netfilter/nfnetlink_conntrack.h): the
attributes that the kernel dumped are sent back as they are, so nothing in them needs to be understood. One dump serves any
number of ports. Small enough to need no library.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from reconciler.kernel.netlink import (
    ANSWER_TIMEOUT_S,
    HEADER,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RECEIVE_BYTES,
    NetlinkError,
    attribute,
    parse_attributes,
    parse_error,
    parse_messages,
)

NETLINK_NETFILTER = 12
SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID = 1, 18, 12
CTA_TUPLE_PROTO = 2
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
NFGENMSG_BYTES = 4
NLA_F_NESTED = 0x8000
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


@dataclass(frozen=True, slots=True)
class _Flow:
    protocol: int
    port: int
    request: bytes
    """The body of the request that deletes it: family, original tuple, zone and id."""


def flush_flows(ports: Collection[tuple[str, int]]) -> int:
    """Forget the flows whose original destination is one of these (protocol, port); the number of those forgotten.

    For the thread that has entered the namespace. NetlinkError where the kernel refuses.
    """
    wanted = {(PROTOCOLS[protocol], port) for protocol, port in ports}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as netlink:
            netlink.settimeout(ANSWER_TIMEOUT_S)
            flows = [flow for flow in _read_flows(netlink) if (flow.protocol, flow.port) in wanted]
            return sum(_delete(netlink, flow, sequence) for sequence, flow in enumerate(flows, start=2))
    except NetlinkError:
        raise
    except OSError as error:
        raise NetlinkError(f"connections cannot be read or forgotten: {error.strerror or error}", error.errno or 0) from error


def _read_flows(netlink: socket.socket) -> Iterator[_Flow]:
    """All flows of both families. The table changes all the time, so a dump that misses a flow born meanwhile is no fault."""
    header = HEADER.pack(HEADER.size + NFGENMSG_BYTES, SUBSYSTEM | IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    netlink.send(header + bytes(NFGENMSG_BYTES))
    while True:
        for number, flags, _, body in parse_messages(netlink.recv(RECEIVE_BYTES)):
            if number in (NLMSG_ERROR, NLMSG_DONE):
                code, words = parse_error(flags, body)
                if code:
                    raise NetlinkError(f"connections cannot be read: {words or errno.errorcode.get(code, code)}", code)
                return
            flow = _parse_flow(body)
            if flow:
                yield flow


def _parse_flow(body: memoryview) -> _Flow | None:
    found = dict(parse_attributes(body, NFGENMSG_BYTES))
    protocol = dict(parse_attributes(dict(parse_attributes(found[CTA_TUPLE_ORIG]))[CTA_TUPLE_PROTO]))
    if CTA_PROTO_DST_PORT not in protocol:
        return None  # ICMP and the like
    keep = b"".join(
        attribute(number | (NLA_F_NESTED if number == CTA_TUPLE_ORIG else 0), bytes(found[number]))
        for number in (CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID)
        if number in found
    )
    return _Flow(
        protocol[CTA_PROTO_NUM][0],
        int.from_bytes(protocol[CTA_PROTO_DST_PORT]),
        bytes(body[:1]) + bytes(3) + keep,
    )


def _delete(netlink: socket.socket, flow: _Flow, sequence: int) -> int:
    """1 where the flow is gone by our request, 0 where it had gone by itself."""
    header = HEADER.pack(
        HEADER.size + len(flow.request), SUBSYSTEM | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequence, 0
    )
    netlink.send(header + flow.request)
    while True:
        for number, flags, answered, body in parse_messages(netlink.recv(RECEIVE_BYTES)):
            if number != NLMSG_ERROR or answered != sequence:
                continue
            code, words = parse_error(flags, body)
            if code not in (0, errno.ENOENT):
                raise NetlinkError(f"a connection cannot be forgotten: {words or errno.errorcode.get(code, code)}", code)
            return int(code == 0)
