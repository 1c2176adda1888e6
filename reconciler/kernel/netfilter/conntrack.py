"""Deletes connections, so that UDP flows follow a published port that was changed.

A conntrack entry keeps its translation as long as packets arrive. The original destination port, which is the host's
port, identifies the entries; their whole original tuple deletes them. One dump of each family serves any number of
ports.

It uses pyroute2, which takes a quarter of a second to import. So it is imported here only, and most runs do not need
it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from typing import Any

from reconciler.errors import HostError
from reconciler.state.uapi import PROTOCOLS


def flush_flows(ports: Collection[tuple[str, int]]) -> int:
    """Delete the flows whose original destination is one of these (protocol, port); the number of deleted ones.

    For a thread that has entered the namespace. HostError if the kernel rejects a request.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    wanted = {(PROTOCOLS[protocol], port) for protocol, port in ports}
    try:
        return sum(_flush_family(family, wanted) for family in (socket.AF_INET, socket.AF_INET6))
    except (NetlinkError, OSError) as error:
        raise HostError(f"cannot read or delete connections: {error}") from error


def _flush_family(family: socket.AddressFamily, wanted: Collection[tuple[int, int]]) -> int:
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    with NFCTSocket(nfgen_family=family) as conntrack:
        # The table changes all the time, so a dump without a new flow is no error.
        flows = [flow for flow in conntrack.dump() if _target_of(flow) in wanted]
        return sum(_forget(conntrack, flow) for flow in flows)


def _target_of(flow: Any) -> tuple[int, int]:
    """The protocol and the original destination port; -1 for protocols without ports, such as ICMP."""
    protocol = flow.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO")
    port = protocol.get_attr("CTA_PROTO_DST_PORT")
    return int(protocol.get_attr("CTA_PROTO_NUM")), -1 if port is None else int(port)


def _forget(conntrack: Any, flow: Any) -> int:
    """1 if this request deleted the flow, 0 if it did not exist any more."""
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
