"""Addresses and networks in the form of a topology file, and corrections of nearly valid ones.

`fields` makes pydantic field types of the `parse_` functions, as of those of `scalars`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeVar

from reconciler.topology.scalars import advise, describe, expect_text, parse_item, refuse, shorten
from reconciler.topology.types import IPAddress, Network

T = TypeVar("T")

_Typo = tuple[str, str, Callable[[re.Match[str]], str] | None]
"""A wrong form of a value: its pattern, the fault, and a function that returns the intended value (None: unknown)."""

_PARTS = "an IPv4 address has four parts from 0 to 255: write one such as 10.44.0.10"
_ADDRESS_TYPOS: tuple[_Typo, ...] = (
    (r"[0-9]+(\.[0-9]+){0,2}", "is not an IP address: `{}` has fewer than four parts", None),
    (r"(?=.*\b0[0-9])([0-9]{1,3}\.){3}[0-9]{1,3}", "is not an IP address: `{}` has a leading zero", lambda m: strip_zeros(m[0])),
    (r"([0-9]{1,3}\.){3}[0-9]{1,3}", "is not an IP address: `{}` has a part above 255", None),
    (r"([^/]+)/[0-9.]+", "must be an address alone, without a prefix length: `{}`", lambda found: strip_zeros(found[1])),
    (r"([0-9.]+):[0-9-]+", "must be an address alone, without a port: `{}`", lambda found: found[1]),
    (r"\[([^\[\]]+)\](:[0-9]+)?", "must be an address alone, without brackets: `{}`", lambda found: found[1]),
    (r"([0-9a-fA-F:.]+)%.+", "must be an address without a zone: `{}`", lambda found: found[1]),
    (r"[A-Za-z][A-Za-z0-9._-]*", "is not an IP address, but a name: `{}`", None),
)


def strip_zeros(text: str) -> str:
    """Without the leading zeros of its decimal parts, which some programs read as octal (RFC 6943, section 3.1.1)."""
    return re.sub(r"(?<![0-9a-fA-F:])0+(?=[0-9])", "", text) if ":" not in text else text


def parse_address(value: Any) -> IPAddress:
    """One IPv4 or IPv6 address, without a prefix length or a zone."""
    text = expect_text(value, "an address", _PARTS)
    example = _PARTS if re.fullmatch(r"[0-9.]+", text) else "write one such as 10.44.0.10 or fd00:44::10"
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        plain = str(address.ipv4_mapped or address).partition("%")[0]
        message = f"must be a plain IPv6 address, without a zone or an IPv4 address within: `{text}`"
        raise refuse(message, advise(text, plain, parse_address, example))
    if address is not None:
        return address
    for form, message, fix in _ADDRESS_TYPOS:
        if found := re.fullmatch(form, text):
            raise refuse(message.format(shorten(text)), advise(text, fix(found) if fix else "", parse_address, example))
    raise refuse(f"is not an IP address: `{shorten(text)}`", example)


def parse_addresses(value: Any) -> tuple[IPAddress, ...]:
    """One address, or one of each family."""
    addresses = _parse_one_or_two(parse_address, value, "an address", '[10.44.0.10, "fd00:44::10"]')
    _one_per_family([address.version for address in addresses], "addresses")
    return addresses


def parse_auto_addresses(value: Any) -> tuple[IPAddress, ...]:
    """As `parse_addresses`; `auto` gives none."""
    if value is True or (isinstance(value, str) and value != "auto" and value.lower() in ("auto", "any", "yes", "automatic")):
        raise refuse(f"must be `auto` or an address, but is {describe(value)}", "write auto")
    return () if value == "auto" else parse_addresses(value)


_CIDR_HELP = "write one such as 10.44.0.0/24 or fd00:44::/64"
_CIDR_TYPOS: tuple[_Typo, ...] = (
    (r"([0-9]+(?:\.[0-9]+){0,2})\.?/([0-9]+)", "`{}` has fewer than four parts", lambda it: _fill(it[1], it[2])),
    (r".+,.+", "`{}` is several in one text", None),
    (
        r"[0-9]+(?:\.[0-9]+){3}/[0-9]+",
        "`{}` has a leading zero, a part above 255, or a prefix length above 32",
        lambda it: _fill(*it[0].split("/")),
    ),
    (r"([0-9.]+)\s*/\s*([0-9]+)", "`{}`", lambda found: _fill(found[1], found[2])),
    (r"([0-9]+(?:\.[0-9]+){0,2})(?:\.[*x]){1,3}", "`{}` has a wildcard", lambda found: _fill(found[1])),
    (r"[*]|any|all|0/0|everyone|anywhere", "`{}`", lambda _: "0.0.0.0/0"),
    (r"([0-9.]+)-[0-9.]+", "`{}` is a range from one address to another", None),
    (r"[A-Za-z][A-Za-z0-9._-]*", "`{}` is a name", None),
)


def _fill(address: str, length: str = "") -> str:
    """The network of an address with all its parts, without leading zeros and host bits.

    If no length is given, the number of its parts determines it.
    """
    parts = strip_zeros(address).strip(".").split(".")
    whole = ".".join([*parts, "0", "0", "0"][: max(4, len(parts))])
    try:
        return str(ip_network(f"{whole}/{length or 8 * len(parts)}", strict=False))
    except ValueError:
        return ""


def parse_network(value: Any) -> Network:
    """A prefix without host bits. A bare address stands for itself alone (/32, /128)."""
    return _parse_network(value, parse_network)


def _parse_network(value: Any, accepts: Callable[[Any], object]) -> Network:
    """As `parse_network`; a suggested network is one that `accepts` takes."""
    text = expect_text(value, "a CIDR", _CIDR_HELP)
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        for form, message, fix in _CIDR_TYPOS:
            if found := re.fullmatch(form, text):
                help_text = advise(text, fix(found) if fix else "", accepts, _CIDR_HELP)
                raise refuse(f"is not a CIDR: {message.format(shorten(text))}", help_text) from None
        raise refuse(f"is not a CIDR: `{shorten(text)}`", _CIDR_HELP) from None
    if "/" in text and text.partition("/")[2] != str(loose.prefixlen):
        message = f"must give its prefix length as a number: `{shorten(text)}`"
        raise refuse(message, advise(text, str(loose), accepts, _CIDR_HELP))
    if loose.network_address != ip_address(text.partition("/")[0]):
        raise refuse(f"has host bits set: `{text}`", advise(text, str(loose), accepts, _CIDR_HELP))
    return loose


def parse_cidrs(value: Any) -> tuple[Network, ...]:
    """A subnet's prefix, or one of each family."""
    networks = _parse_one_or_two(_parse_cidr, value, "a CIDR", '[10.44.0.0/24, "fd00:44::/64"]')
    _one_per_family([network.version for network in networks], "CIDRs")
    return networks


def _parse_cidr(value: Any) -> Network:
    network = _parse_network(value, _parse_cidr)
    if "/" not in value:
        whole = ip_network((network.network_address, 24 if network.version == 4 else 64), strict=False)
        raise refuse(f"needs a prefix length: `{value}`", advise(value, str(whole), _parse_cidr, _CIDR_HELP))
    base = network.network_address
    for wrong, what in ((base.is_multicast, "multicast"), (base.is_loopback, "loopback"), (base.is_link_local, "link-local")):
        if wrong:
            raise refuse(f"is a {what} range: {network}", "take a private range, such as 10.44.0.0/24 or fd00:44::/64")
    if base.is_unspecified or network.overlaps(ip_network("240.0.0.0/4" if network.version == 4 else "ff00::/8")):
        raise refuse(f"cannot be used for hosts: {network}", "take a private range, such as 10.44.0.0/24 or fd00:44::/64")
    longest = 30 if network.version == 4 else 126
    if network.prefixlen > longest:
        raise refuse(f"has no room for a gateway and a container: {network}", f"make its prefix length {longest} or less")
    return network


def _parse_one_or_two(parse: Callable[[Any], T], value: Any, what: str, example: str) -> tuple[T, ...]:
    if not isinstance(value, tuple):
        return (parse(value),)
    if len(value) not in (1, 2):
        raise refuse(f"must be {what}, or a list of an IPv4 and an IPv6 one, but has {len(value)} items", f"write {example}")
    return tuple(parse_item(parse, item, number) for number, item in enumerate(value))


def _one_per_family(versions: list[int], what: str) -> None:
    if len(set(versions)) < len(versions):
        raise refuse(f"has two IPv{versions[0]} {what}: one of each family is what can be given", "keep one of them", (1,))


def parse_sources(value: Any) -> tuple[Network, ...]:
    """The networks that `from:` admits."""
    items = value if isinstance(value, tuple) else (value,)
    if not items:
        raise refuse("is empty, so no network could connect", "name the networks that may connect, or remove `from`")
    return tuple(parse_item(parse_network, item, number) for number, item in enumerate(items))
