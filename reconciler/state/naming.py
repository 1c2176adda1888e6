"""Names, marks and hardware addresses.

They are deterministic: netctl finds its resources by them, and any host can compute them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from dataclasses import dataclass
from functools import lru_cache

INTERFACE_NAME_MAX = 15
"""IFNAMSIZ less the closing NUL (linux/if.h)."""

ROUTE_PROTOCOL = 78
"""The rtnetlink protocol number of netctl's routes and neighbors (free in iproute2's rt_protos; 78 is `N`)."""


RESERVED_NAMES = ("host", "outside", "router", "lab")
"""Words that have a meaning of their own where a name of the file can stand."""
DIRECT = "direct"
"""The word in place of `bridge` in the alias of a bridge that contains the host's uplink: its addresses are the host's own."""

_REPLICA = re.compile(r"(.+)-([0-9]+)", re.DOTALL)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("/".join(parts).encode()).digest()


@lru_cache
def group_of(topology: str) -> int:
    """The IFLA_GROUP tag of the topology's links: 31 bits of its hash, never 0 (the default group)."""
    return int.from_bytes(_digest("group", topology)[:4], "big") >> 1 | 1


def cookie_of(topology: str) -> int:
    """The cookie of the topology's OpenFlow rules: 63 bits of its hash, never 0 (the cookie of a rule without one)."""
    return int.from_bytes(_digest("cookie", topology)[:8], "big") >> 1 | 1


def doomed_group_of(topology: str) -> int:
    """The group of links that are about to be deleted while others stay: one request deletes a whole group.

    A link that has this group after a kill belongs to the topology, too; only its group differs.
    """
    return group_of(topology) | 1 << 31


def interface_name(prefix: str, *parts: str) -> str:
    """`prefix` and the parts if they fit into 15 bytes; else cut short, with 35 bits of their hash at the end."""
    readable = prefix + "-".join(parts)
    if len(readable) <= INTERFACE_NAME_MAX:
        return readable
    tail = b32encode(_digest(prefix, *parts)).decode().lower()[:7]
    return f"{readable[: INTERFACE_NAME_MAX - 8]}-{tail}"


def mac_of(*parts: str) -> str:
    """A locally administered unicast address (`02:…`, IEEE 802) from the hash of the parts."""
    return "02:" + ":".join(f"{byte:02x}" for byte in _digest("mac", *parts)[:5])


def seat_of(*parts: str) -> int:
    """A number from the hash of the parts: where in a prefix the search for a free address begins."""
    return int.from_bytes(_digest("seat", *parts)[:4], "big")


def vni_of(topology: str, subnet: str) -> int:
    """The number of a subnet's tunnels: 24 bits of the names' hash (RFC 7348), never 0."""
    return int.from_bytes(_digest("vni", topology, subnet)[:3], "big") or 1


def replica_name(origin: str, number: int) -> str:
    """The name of a container's replica: `worker-3`."""
    return f"{origin}-{number}"


def split_replica(name: str) -> tuple[str, int]:
    """The inverse of `replica_name`; of a name without a number, the name and -1."""
    found = _REPLICA.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, -1)


@dataclass(frozen=True, slots=True)
class Alias:
    """The content of a link's ifalias: `netctl:<topology>/<kind>/<name>[/<subnet>]`."""

    topology: str
    kind: str
    name: str
    subnet: str = ""

    def __str__(self) -> str:
        """The form that is written to IFLA_IFALIAS."""
        return f"netctl:{self.topology}/{self.kind}/{self.name}" + (f"/{self.subnet}" if self.subnet else "")


@lru_cache(1 << 14)
def parse_alias(text: str) -> Alias | None:
    """The inverse of `str(Alias)`; None if the text is not an alias of netctl's.

    It is cached: every kind reads the same links.
    """
    if not text.startswith("netctl:"):
        return None
    parts = text.removeprefix("netctl:").split("/")
    if len(parts) not in (3, 4) or not all(parts):
        return None
    return Alias(*parts)
