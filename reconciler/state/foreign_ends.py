"""The names and addresses of the foreign link that a verification creates (`kernel.foreign_link`). Pure.

What verification expects depends on them, and so do the worker's probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from reconciler.state.naming import interface_name, mac_of


@dataclass(frozen=True, slots=True)
class ForeignEnds:
    """Both ends of the pair: the host's with its name and hardware address, the remote one, and the CIDRs of each."""

    name: str
    mac: str
    alias: str
    cidrs: tuple[str, ...]
    remote_name: str
    remote_cidrs: tuple[str, ...]


def foreign_ends(topology: str) -> ForeignEnds:
    """The ends for a topology: two addresses of each family from its name, so that two topologies on one host do not collide.

    IPv4 link-local addresses (RFC 3927) are from 169.254.64.0/18, where no cloud has its services; IPv6 has unique
    local ones (RFC 4193). Neither can be reached from outside of the host.
    """
    digest = sha256(f"foreign link of {topology}".encode()).digest()
    four = IPv4Address("169.254.64.0") + int.from_bytes(digest[:2], "big") % 4096 * 4
    six = IPv6Address(b"\xfd" + digest[2:15] + b"\0\0")
    return ForeignEnds(
        name=interface_name("n-", topology, "verify"),
        mac=mac_of(topology, "verify"),
        alias=f"netctl verify of {topology}",
        cidrs=(f"{four + 1}/30", f"{six + 1}/126"),
        remote_name="eth0",
        remote_cidrs=(f"{four + 2}/30", f"{six + 2}/126"),
    )
