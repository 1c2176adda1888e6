"""The facts of a namespace after a probe from it has failed."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise
from pathlib import Path

from reconciler.probes.diagnose import NetnsFacts

PROC_NET = Path("/proc/thread-self/net")  # /proc/self/net would show the main thread's namespace
RTF_GATEWAY = 2  # linux/route.h


def read_netns_facts() -> NetnsFacts:
    """Links, address families and default routes of the calling thread's namespace."""
    return NetnsFacts(
        exists=True,
        links=tuple(name for _, name in socket.if_nameindex() if name != "lo"),
        addressed=tuple(family for family in (4, 6) if _has_address(family)),
        default_routes=tuple(family for family in (4, 6) if _has_default_route(family)),
    )


def read_default_gateway() -> str:
    """The IPv4 gateway of the calling thread's namespace; "" if there is none."""
    for fields in _rows("route")[1:]:
        if fields[1] == "00000000" and int(fields[3], 16) & RTF_GATEWAY:
            return socket.inet_ntoa(struct.pack("=I", int(fields[2], 16)))
    return ""


def _has_address(family: int) -> bool:
    if family == 6:
        return any(fields[5] != "lo" and fields[3] == "00" for fields in _rows("if_inet6"))  # scope 00: global
    # fib_trie names every local address; those of lo are 127.0.0.0/8.
    lines = _read("fib_trie").splitlines()
    local = {before.split()[-1] for before, line in pairwise(lines) if "host LOCAL" in line}
    return any(not address.startswith("127.") for address in local)


def _has_default_route(family: int) -> bool:
    if family == 4:
        return any(fields[1] == "00000000" and fields[7] == "00000000" for fields in _rows("route")[1:])
    return any(set(fields[0]) == {"0"} and fields[1] == "00" and fields[9] != "lo" for fields in _rows("ipv6_route"))


def _rows(name: str) -> list[list[str]]:
    return [line.split() for line in _read(name).splitlines()]


def _read(name: str) -> str:
    try:
        return (PROC_NET / name).read_text()
    except FileNotFoundError:  # no IPv6 in this kernel
        return ""
