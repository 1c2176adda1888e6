"""The addresses that a LAN may assign to a container. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network, summarize_address_range

from reconciler.compile.addresses import link_local_of, plain_block
from reconciler.compile.disjoint import RangeProduct, range_of, subtract
from reconciler.compile.model import Endpoint
from reconciler.compile.view import HostView


def find_leases(view: HostView, endpoint: Endpoint) -> Iterator[str]:
    """The addresses that the LAN may assign to a container: all of its range but the hosts', the gateway's and containers'.

    Hosts believe what comes from each other by a tunnel. For IPv6, the one address that follows from the container's
    hardware address (RFC 4862).
    """
    resolved = view.resolved
    lans = (
        host_subnets[endpoint.subnet].lan for host_subnets in resolved.host_subnets.values() if endpoint.subnet in host_subnets
    )
    others = [one.address for lan in lans if lan for one in (*lan.own, *lan.routers)]
    others += [str(address) for host in view.topology.hosts.values() for address in host.addresses]
    others += [own.address for endpoints in resolved.endpoints.values() for each in endpoints if each.subnet == endpoint.subnet
               for own in each.addresses]  # fmt: skip
    for cidr in view.subnet(endpoint).cidrs:
        if cidr.version == 6:
            yield interface_address(str(cidr), endpoint.mac)
            continue
        taken: list[RangeProduct] = [(range_of(address),) for address in dict.fromkeys(others) if ":" not in address]
        for ((first, last),) in subtract([(range_of(str(cidr)),)], taken):
            yield from (plain_block(str(block)) for block in summarize_address_range(IPv4Address(first), IPv4Address(last)))


def interface_address(cidr: str, mac: str) -> str:
    """The address that stateless autoconfiguration forms in a prefix (RFC 4862): its lower half is the link-local one's."""
    own = int(ip_network(link_local_of(mac)).network_address) & (1 << 64) - 1
    return str(ip_network(int(ip_network(cidr).network_address) | own).network_address)
