"""Ports in the form of a topology file: of a host, of a container, of a policy.

`fields` makes pydantic field types of the `parse_` functions, as of those of `scalars`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from reconciler.state.uapi import PORT_MAX, PROTOCOLS
from reconciler.topology.addresses import parse_address
from reconciler.topology.scalars import advise, expect_text, refuse, shorten
from reconciler.topology.types import IPAddress, PortRange


@dataclass(frozen=True, slots=True)
class HostPorts:
    """The host's side of a published port: an address (None: every one) and the first and last port."""

    address: IPAddress | None
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ContainerPorts:
    """The container's side: the first and last port, and the protocol if it is given."""

    first: int
    last: int
    protocol: str = ""


def parse_ports(text: str) -> tuple[int, int]:
    """`80` or `8000-8010`."""
    match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", text)
    if not match:
        several = re.fullmatch(r"[0-9]+(\s*,\s*[0-9]+)+", text)
        help_text = "write each port as an item of its own" if several else _PORT_HELP
        raise refuse(f"is not a port: `{shorten(text)}`" if text else "has a port missing", help_text)
    first, last = int(match[1]), int(match[2] or match[1])
    for port in (first, last):
        if not 1 <= port <= PORT_MAX:
            raise refuse(f"has a port that does not exist: {port}", f"a port is 1 to {PORT_MAX}")
    if first > last:
        raise refuse(f"is a range that ends before it starts: {text}", f"write {last}-{first}")
    return first, last


_PORT_HELP = "a port is a whole number: write one such as 80, or a range such as 8000-8010"


def _port_text(value: Any, what: str) -> str:
    """The text of a port, which may be a number: no other value accepts both a number and text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else expect_text(value, what, _PORT_HELP)


def parse_listen(value: Any) -> HostPorts:
    """`[address:]port[-end]`, IPv6 addresses in brackets."""
    text = _port_text(value, "[address:]port")
    address_text, separator, ports_text = text.rpartition(":")
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}|\[[0-9a-fA-F:.]+\]", text):
        raise refuse(f"has an address and no port: `{text}`", f'write "{text}:8080", with the port behind it')
    first, last = parse_ports(ports_text)
    if not separator:
        return HostPorts(None, first, last)
    if address_text.startswith("[") and address_text.endswith("]"):
        address_text = address_text[1:-1]
    elif ":" in address_text:
        bracket_help = 'write the address in brackets: "[2001:db8::11]:8080"'
        quoted = advise(text, f'"[{address_text}]:{ports_text}"', lambda fixed: parse_listen(fixed.strip('"')), bracket_help)
        raise refuse(f"must have its IPv6 address in brackets: `{shorten(text)}`", quoted)
    if not address_text:
        raise refuse(f"has no address before the colon: `{shorten(text)}`", f'write "{ports_text}"')
    address = parse_address(address_text)
    if isinstance(address, IPv6Address) and address.is_loopback:
        raise refuse(
            "cannot listen on [::1]: the kernel forwards nothing from the IPv6 loopback (there is no route_localnet for IPv6)",
            "publish on 127.0.0.1 for local use, or on an IPv6 address of the host",
        )
    if address.is_multicast or address.is_link_local or address == IPv4Address("255.255.255.255"):
        raise refuse(f"cannot listen on {address}", "give an address of the host, or leave it out to listen on all")
    return HostPorts(address, first, last)


def split_protocol(text: str) -> tuple[str, str]:
    """`53/udp` as (`53`, `udp`); the protocol is "" if it is not given."""
    ports, separator, protocol = text.partition("/")
    if separator and protocol not in PROTOCOLS:
        known = protocol.lower() in PROTOCOLS
        help_text = f"write {ports}/{protocol.lower()}" if known else "write tcp, udp or sctp, as in 53/udp"
        raise refuse(f"has no protocol that can be published: `{shorten(protocol)}`", help_text)
    return ports, protocol


def parse_target(value: Any) -> ContainerPorts:
    """`port[-end][/protocol]`."""
    ports, protocol = split_protocol(_port_text(value, "a port"))
    return ContainerPorts(*parse_ports(ports), protocol)


def parse_policy_ports(value: Any) -> PortRange:
    """`port[-end][/protocol]`; tcp if the protocol is not given."""
    target = parse_target(value)
    match target.protocol:
        case "udp":
            return PortRange("udp", target.first, target.last)
        case "sctp":
            return PortRange("sctp", target.first, target.last)
        case _:
            return PortRange("tcp", target.first, target.last)
