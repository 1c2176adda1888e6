"""The underlay: the addresses by which hosts reach each other, and the hosts that share a link.

Pure. All of a lab host is known from its addresses; of a real one, the prefix of an address is read from the host.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from reconciler.compile.model import Assigned
from reconciler.state.host import HostFacts
from reconciler.state.naming import mac_of
from reconciler.state.ref import LAB_UPLINK
from reconciler.topology.types import Host

SEGMENT_LENGTH = {4: 24, 6: 64}
"""Of the lab's segments."""


def underlay_of(host: Host, facts: HostFacts | None = None) -> tuple[Assigned, ...]:
    """A host's addresses with their networks; an address that its host does not have is in a network of its own."""
    return tuple(Assigned(address.version, str(address), _network_of(host, str(address), facts)) for address in host.addresses)


def _network_of(host: Host, address: str, facts: HostFacts | None) -> str:
    family = ip_address(address).version
    if host.connect.scheme == "lab":
        return str(ip_network(f"{address}/{SEGMENT_LENGTH[family]}", strict=False))
    held = (ip_interface(cidr) for cidr in (facts.addresses if facts else ()))
    return next((str(one.network) for one in held if str(one.ip) == address), str(ip_network(address)))


def uplink_of(host: Host, facts: HostFacts | None = None) -> str:
    """The name of the interface that leads to the other hosts."""
    if host.connect.scheme == "lab":
        return host.uplink or LAB_UPLINK
    return host.uplink or (facts.uplink if facts else "")


def uplink_mac_of(topology: str, host: Host, facts: HostFacts | None = None) -> str:
    """The hardware address of that interface, by which the host's neighbours know its packets."""
    if host.connect.scheme == "lab":
        return mac_of(topology, "lab", "host", host.name)
    return facts.uplink_mac if facts else ""


def address_of(own: tuple[Assigned, ...], family: int) -> Assigned | None:
    """A host's address of a family; None if it has none."""
    return next((one for one in own if one.family == family), None)


def share_link(one: Assigned | None, other: Assigned | None) -> bool:
    """Whether two hosts are neighbours by these addresses: each is in the other's network."""
    return bool(
        one
        and other
        and ip_address(other.address) in ip_network(one.network)
        and ip_address(one.address) in ip_network(other.network)
    )
