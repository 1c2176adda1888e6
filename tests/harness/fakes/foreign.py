"""Foreign resources of a host, in short."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import cast

from reconciler.state.foreign import ForeignListener, ForeignRoute, HostPort, HostPortRange, TransportProtocol


def port(text: str) -> HostPort:
    """Of `tcp 0.0.0.0 8080`."""
    protocol, address, number = text.split()
    return HostPort(protocol=cast("TransportProtocol", protocol), address=ip_address(address), port=int(number))


def ports(text: str) -> HostPortRange:
    """Of `tcp 0.0.0.0 8080-8089`, or of `tcp 0.0.0.0 8080`."""
    protocol, address, numbers = text.split()
    first, _, last = numbers.partition("-")
    return HostPortRange(
        protocol=cast("TransportProtocol", protocol), address=ip_address(address), first=int(first), last=int(last or first)
    )


def listener(text: str, holder: str = "") -> ForeignListener:
    """A socket on a port."""
    return ForeignListener(port=port(text), holder=holder)


def route(destination: str, link: str) -> ForeignRoute:
    """A route over a link."""
    return ForeignRoute(destination=ip_network(destination), link=link)
