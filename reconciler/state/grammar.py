"""The grammar of what a host reports: names of links, addresses, hardware addresses; and the check of its facts by it.

A form is as wide as the kernel's own, which is wider than that of a topology file. It matches all that a real host has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface

from reconciler.state.foreign import ForeignContainer, ForeignListener, ForeignPort, ForeignResource
from reconciler.state.host import HostFacts, LinkFacts
from reconciler.state.jsontext import MalformedError
from reconciler.state.members import Member
from reconciler.state.uapi import PORT_MAX

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""A DNS label (RFC 1123), as every name in a topology file is."""
DOMAIN = rf"{LABEL}(?:\.{LABEL})*"
"""A domain in lower case."""
TOPOLOGY_NAME_MAX = 20
"""Names of interfaces and tables are made from the topology's name."""
LINK = r"(?!\.{1,2}(?:\0|\Z))[^\s/:\0]{1,15}"
"""A link's name (dev_valid_name, net/core/dev.c). Control characters are allowed there."""
NETNS = rf"(?:(?:container|lab):{LABEL})?"
"""A namespace, as a Ref names it (`state.ref`)."""
MAC = r"(?:[0-9a-f]{2}(?::[0-9a-f]{2}){0,31})?"
"""A hardware address, which may be missing; MAX_ADDR_LEN is 32 (linux/netdevice.h)."""
ADDRESS = r"[0-9a-f.:]{2,45}"
CIDR = rf"{ADDRESS}/[0-9]{{1,3}}"
ENGINE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}"
"""A container's name in its engine."""
LINE = r"[^\r\n\0]{0,4096}"
TEXT = r"[^\0]{0,4096}"
MTU_MAX = (1 << 31) - 1
"""The largest value of IFLA_MTU."""

_LINK = re.compile(LINK)
_LABEL = re.compile(LABEL, re.ASCII)
_MAC = re.compile(MAC, re.ASCII)
_ADDRESS = re.compile(rf"{ADDRESS}(?:/[0-9]{{1,3}})?", re.ASCII)
_WORD = re.compile(r"\S+")


def is_label(name: str) -> bool:
    """Whether a container, host or subnet of a file can have the name."""
    return _LABEL.fullmatch(name) is not None


def is_topology_name(name: str) -> bool:
    """Whether a topology can have the name."""
    return len(name) <= TOPOLOGY_NAME_MAX and is_label(name)


def is_link_name(name: str) -> bool:
    """Whether a link can have the name."""
    return _LINK.fullmatch(name) is not None


def check_facts(facts: HostFacts) -> None:
    """Raise MalformedError if a fact of a host has an impossible form: facts enter the plans of other hosts."""
    try:
        _check(not facts.uplink or is_link_name(facts.uplink), "the name of an uplink")
        _check(_MAC.fullmatch(facts.uplink_mac), "a hardware address")
        _check_mtu(facts.uplink_mtu)
        for cidr in facts.addresses:
            _check_address(cidr, ip_interface)
        for lease in facts.leases:
            _check_address(lease.address, ip_address)
        for ports in facts.published:
            _check_port(ports.first)
            _check_port(ports.last)
        for resource in facts.foreign:
            _check_foreign(resource)
        for member in facts.members:
            _check_member(member)
        for link in facts.links:
            _check_link(link)
    except MalformedError:
        raise
    except ValueError:
        raise MalformedError("facts with an address that is none") from None


def _check_link(link: LinkFacts) -> None:
    _check(is_link_name(link.name) and (not link.master or is_link_name(link.master)), "the name of a link")
    _check(_MAC.fullmatch(link.mac), "a hardware address")
    _check_mtu(link.mtu)
    for cidr in link.addresses:
        _check_address(cidr, ip_interface)
    for router in link.routers:
        _check_address(router, ip_address)


def _check_foreign(resource: ForeignResource) -> None:
    match resource:
        case ForeignListener() | ForeignPort():
            _check_port(resource.port.port)
        case ForeignContainer():
            _check(_WORD.fullmatch(resource.runtime) and _WORD.fullmatch(resource.state), "the state of a container")
        case _:
            pass


def _check_member(member: Member) -> None:
    _check(is_label(member.origin) and is_label(member.name), "the name of a container")
    _check(re.fullmatch(ENGINE_NAME, member.engine_name), "the engine's name of a container")
    _check(_WORD.fullmatch(member.runtime) and _WORD.fullmatch(member.state), "the state of a container")


def _check_address(text: str, parse: Callable[[str], object]) -> None:
    """Reject an address with a zone: `ipaddress` alone accepts `fe80::1%ZONE`, whose zone may be any text."""
    _check(_ADDRESS.fullmatch(text), "an address")
    parse(text)


def _check_port(port: int) -> None:
    _check(0 <= port <= PORT_MAX, "a port")


def _check_mtu(mtu: int) -> None:
    _check(0 <= mtu <= MTU_MAX, "an MTU")


def _check(good: object, what: str) -> None:
    if not good:
        raise MalformedError(f"facts with {what} that cannot be")
