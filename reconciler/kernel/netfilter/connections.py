"""Counts the entries of connection tracking by the address that opened each.

The dump is read raw (ctnetlink, linux/netfilter/nfnetlink_conntrack.h). A host may track a quarter of a million
connections. A dump of 10,000 takes 30 ms this way, and a second through pyroute2. Entries change during the dump, so
the numbers are approximate.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Collection
from ipaddress import ip_address

from reconciler.errors import HostError
from reconciler.kernel.netfilter.table_dump import GENERIC, NETLINK_NETFILTER
from reconciler.kernel.netlink.rtnetlink import (
    ANSWER_TIMEOUT_S,
    HEADER,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RECEIVE_BYTES,
    parse_attributes,
    parse_error,
    parse_messages,
)

CT_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
CTA_TUPLE_ORIG, CTA_TUPLE_IP = 1, 1
CTA_IP_SOURCES = (1, 3)  # CTA_IP_V4_SRC, CTA_IP_V6_SRC


def count_connections(sources: Collection[str]) -> dict[str, int]:
    """The number of entries that each address opened, in the calling thread's namespace. HostError if it cannot be read."""
    wanted = {ip_address(source).packed: source for source in sources}
    try:
        found = _count(wanted.keys())
    except OSError as error:
        raise HostError(f"cannot read connection tracking: {error.strerror or error}") from error
    return {source: found[packed] for packed, source in wanted.items()}


def _count(wanted: Collection[bytes]) -> Counter[bytes]:
    counted: Counter[bytes] = Counter()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as wire:
        wire.settimeout(ANSWER_TIMEOUT_S)
        body = GENERIC.pack(socket.AF_UNSPEC, 0, 0)
        wire.send(HEADER.pack(HEADER.size + len(body), CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        while True:
            for number, flags, _, answer in parse_messages(wire.recv(RECEIVE_BYTES)):
                if number in (NLMSG_ERROR, NLMSG_DONE):
                    code, words = parse_error(flags, answer)
                    if code:
                        raise OSError(code, words or "the kernel refuses")
                    return counted
                source = _source_of(answer)
                if source in wanted:
                    counted[source] += 1


def _source_of(entry: memoryview) -> bytes:
    """The address that opened a connection; empty if the entry has none."""
    tuples = dict(parse_attributes(entry, GENERIC.size))
    addresses = dict(parse_attributes(dict(parse_attributes(tuples[CTA_TUPLE_ORIG])).get(CTA_TUPLE_IP, memoryview(b""))))
    return next((bytes(addresses[number]) for number in CTA_IP_SOURCES if number in addresses), b"")
