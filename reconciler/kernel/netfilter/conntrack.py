"""Forgets connections, so that UDP flows follow a published port that was changed.

A conntrack entry keeps its translation for as long as packets come. Entries are found by their original destination port,
which is the host's port, and deleted by their whole original tuple. One dump of each family serves any number of ports.

Through pyroute2, which is imported here only: it takes a quarter of a second, and most runs forget nothing.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from typing import Any

from reconciler.errors import HostError
from reconciler.state.uapi import PROTOCOLS


def flush_flows(ports: Collection[tuple[str, int]]) -> int:
    """Forget the flows whose original destination is one of these (protocol, port); the number of those forgotten.

    For the thread that has entered the namespace. HostError where the kernel refuses.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    wanted = {(PROTOCOLS[protocol], port) for protocol, port in ports}
    try:
        return sum(_flush_family(family, wanted) for family in (socket.AF_INET, socket.AF_INET6))
    except (NetlinkError, OSError) as error:
        raise HostError(f"connections cannot be read or forgotten: {error}") from error


def _flush_family(family: socket.AddressFamily, wanted: Collection[tuple[int, int]]) -> int:
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    with NFCTSocket(nfgen_family=family) as conntrack:
        # The table changes all the time, so a dump that misses a flow born meanwhile is no fault.
        flows = [flow for flow in conntrack.dump() if _target_of(flow) in wanted]
        return sum(_forget(conntrack, flow) for flow in flows)


def _target_of(flow: Any) -> tuple[int, int]:
    """The protocol and the original destination port; ICMP and the like have no port, given as -1."""
    protocol = flow.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO")
    port = protocol.get_attr("CTA_PROTO_DST_PORT")
    return int(protocol.get_attr("CTA_PROTO_NUM")), -1 if port is None else int(port)


def _forget(conntrack: Any, flow: Any) -> int:
    """1 where the flow is gone by our request, 0 where it had gone by itself."""
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    family = socket.AddressFamily(flow["nfgen_family"])
    tuple_ip = flow.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_IP")
    version = "V4" if family == socket.AF_INET else "V6"
    protocol, port = _target_of(flow)
    original = NFCTAttrTuple(
        family=family,
        saddr=tuple_ip.get_attr(f"CTA_IP_{version}_SRC"),
        daddr=tuple_ip.get_attr(f"CTA_IP_{version}_DST"),
        proto=protocol,
        sport=flow.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO", "CTA_PROTO_SRC_PORT"),
        dport=port,
    )
    try:
        conntrack.entry("del", tuple_orig=original, zone=flow.get_attr("CTA_ZONE"), id=flow.get_attr("CTA_ID"))
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            return 0
        raise
    return 1
