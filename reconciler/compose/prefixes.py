"""Prefixes for networks that name none, and addresses for services that name none.

Both follow from names only, so a second import of the same file gives the same. Docker's own default prefixes
(172.17.0.0/12, 192.168.0.0/16) are avoided, because its networks may still be live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from reconciler.topology.types import IPAddress, Network

_POOLS = (IPv4Network("10.64.0.0/10"), IPv4Network("172.16.0.0/16"))
"""The second one is for files whose own prefixes cover the first. Docker's default prefixes begin behind it."""
_LENGTH = 24
_BLOCK = 16
"""A project's first prefix is a multiple of it, so the subnets of most projects lie side by side."""
FIRST_HOST = 10
"""The last byte of the first address that is given out, if the prefix has room: lower ones are often routers."""
FIRST_IPV6_HOST = 0x10
SCAN_MAX = 4096
"""The most addresses of one prefix that are tried."""


def choose_ipv4(seed: str, taken: Iterable[Network]) -> Iterator[IPv4Network]:
    """Free /24 prefixes of the pools, in each from a place that the seed decides."""
    ours = [network for network in taken if isinstance(network, IPv4Network)]
    for pool in _POOLS:
        if any(pool.subnet_of(other) for other in ours):
            continue
        count = 1 << (_LENGTH - pool.prefixlen)
        start = _digest(seed) % (count // _BLOCK) * _BLOCK
        for number in range(count):
            base = int(pool.network_address) + ((start + number) % count << 32 - _LENGTH)
            found = IPv4Network((base, _LENGTH))
            if not any(found.overlaps(other) for other in ours):
                yield found


def choose_ipv6(seed: str, taken: Iterable[Network]) -> Iterator[IPv6Network]:
    """Free /64 prefixes of one unique local /48 (RFC 4193), whose global ID the seed decides."""
    taken = [network for network in taken if isinstance(network, IPv6Network)]
    base = (0xFD << 120) | (_digest(seed) & ((1 << 40) - 1)) << 80
    for number in range(1, 1 << 16):
        found = IPv6Network((base | number << 64, 64))
        if not any(found.overlaps(other) for other in taken):
            yield found


def _digest(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")


def choose_address(prefix: Network, pool: Network, taken: Collection[IPAddress]) -> IPAddress | None:
    """The first free address of a part of the prefix; None if there is none. The first usable one is the gateway's."""
    first = FIRST_HOST if isinstance(prefix, IPv4Network) else FIRST_IPV6_HOST
    start = first if pool == prefix and prefix.num_addresses > first * 2 else 0
    tried = (*range(start, min(pool.num_addresses, start + SCAN_MAX)), *range(min(start, pool.num_addresses)))
    unusable = {prefix.network_address, prefix.network_address + 1, prefix.broadcast_address}
    found = (pool[number] for number in tried)
    return next((address for address in found if address in prefix and address not in unusable and address not in taken), None)
