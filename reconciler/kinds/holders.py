"""The subjects of a host's links and prefixes, by what its links say of themselves.

Some things name only an address or a link of their owner's: a route to a container elsewhere, an element of a firewall.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface

from reconciler.kinds.links.marks import about
from reconciler.state.naming import DIRECT, parse_alias
from reconciler.state.ref import HOST
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.subject import Subject


@dataclass(slots=True)
class Holders:
    """The subjects of links, addresses, hardware addresses and prefixes on a host."""

    names: dict[str, Subject] = field(default_factory=dict)
    _prefixes: dict[tuple[int, int], dict[int, Subject]] = field(default_factory=dict)
    """By family and length, and then by the bits of the prefix: a lookup costs as much as there are lengths."""

    def add_prefix(self, prefix: IPv4Network | IPv6Network, subject: Subject) -> None:
        """Add the holder of a prefix."""
        self.names[str(prefix)] = subject
        bits = int(prefix.network_address) >> (prefix.max_prefixlen - prefix.prefixlen)
        self._prefixes.setdefault((prefix.version, prefix.prefixlen), {})[bits] = subject

    def around(self, block: str) -> Subject | None:
        """The holder of a prefix that contains a CIDR, a range or an address; None if there is none."""
        try:
            address = ip_address(block.partition("-")[0].partition("/")[0])
        except ValueError:  # `outside`, `default`
            return None
        for (version, length), found in self._prefixes.items():
            if version == address.version and (held := found.get(int(address) >> (address.max_prefixlen - length))):
                return held
        return None


def holders_of(snapshot: Snapshot) -> Holders:
    """The topology's links, and the prefixes of its bridges; the prefix of a LAN is that of other machines, too."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    holders, bridges = Holders(), dict[int, Subject]()
    for link in host.links.values():
        alias = parse_alias(link.alias)
        if alias and alias.topology == snapshot.topology:
            holders.names[link.name] = about(alias, HOST)
            if alias.kind != DIRECT:
                bridges[link.index] = holders.names[link.name]
    for address in host.addresses:
        if address.index in bridges:
            holders.add_prefix(ip_interface(address.cidr).network, bridges[address.index])
    return holders
