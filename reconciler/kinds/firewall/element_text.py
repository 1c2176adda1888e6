"""The text of elements: the grammar of each set's keys and values, and what turns elements into text and back.

One thing has one text, so that what the kernel has compares with what was written. `kernel.netfilter.table_dump` reads elements
in this form, records keep it, and nft(8) gets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import TypeVar, cast

from reconciler.kinds.firewall.program import SETS, parse_table_name, table_name
from reconciler.kinds.firewall.set_elements import GOTO, SetElement
from reconciler.kinds.firewall.sets import CONCATENATION, SetSpec
from reconciler.kinds.firewall.traffic_elements import ANYWHERE

T = TypeVar("T", bound=SetElement)

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PATTERNS = {
    "ifname": "[A-Za-z0-9][A-Za-z0-9_.-]{0,14}",
    "ether_type": "ip|ip6",
    "iface_index": "[A-Za-z0-9][A-Za-z0-9_.-]{0,14}",
    "ether_addr": "[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
    "inet_proto": "tcp|udp|sctp",
    "inet_service": "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}|0)",
    "ipv4_addr": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
    "ipv6_addr": "[0-9a-f:.]{2,45}",
    "count": "[1-9][0-9]{0,8}",
}
"""The pattern of one value of each type. All but that of IPv6 addresses are strict: a match is canonical."""
_ALL = {f"ipv{family}_addr": re.escape(block) for family, block in ANYWHERE.items()}
_RANGED = ("inet_service", "ipv4_addr", "ipv6_addr")


def format_range(kind: str, first: int, last: int) -> str:
    """The canonical text of a range of the nft type `kind`: one value bare, an aligned block as a CIDR, else `first-last`.

    A range of ports is never a CIDR.
    """
    if kind == "inet_service":
        return str(first) if first == last else f"{first}-{last}"
    make = IPv4Address if kind == "ipv4_addr" else IPv6Address
    low, high = make(first), make(last)
    if low == high:
        return str(low)
    blocks = summarize_address_range(low, high)
    block = next(blocks)
    return str(block) if next(blocks, None) is None else f"{low}-{high}"


def _pattern(kinds: tuple[str, ...], *, interval: bool = False, single: tuple[int, ...] = ()) -> re.Pattern[str]:
    """The pattern of a whole key or value, with one group for each part."""
    parts = []
    for number, kind in enumerate(kinds):
        one = _PATTERNS[kind]
        if number in single:
            one = f"{one}|{_ALL[kind]}" if kind in _ALL else one
        elif interval and kind in _RANGED:
            prefix = "|/[0-9]{1,3}" if kind != "inet_service" else ""
            one = f"{one}(?:-{one}{prefix})?"
        parts.append(f"({one})")
    return re.compile(re.escape(CONCATENATION).join(parts), re.ASCII)


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The patterns of a set's keys and values, and the numbers of their groups that need a closer look, each with its type.

    These are IPv6 addresses and ranges.
    """

    key: re.Pattern[str]
    value: re.Pattern[str]
    key_groups: tuple[tuple[int, str], ...]
    value_groups: tuple[tuple[int, str], ...]


@cache
def _grammar(family: str, set_name: str) -> _Grammar:
    """ValueError if no table of the family has such a set."""
    spec = SETS.get(family, {}).get(set_name)
    if spec is None:
        raise ValueError(f"no set {set_name!r} in the {family} table")
    loose = _RANGED if spec.interval else ("ipv6_addr",)
    verdicts = "|".join(f"({GOTO}{chain})" for chain in spec.chains)
    return _Grammar(
        _pattern(spec.key, interval=spec.interval, single=spec.single),
        re.compile(verdicts) if spec.chains else _pattern(spec.data),
        tuple((group, kind) for group, kind in enumerate(spec.key, start=1) if kind in loose),
        tuple((group, kind) for group, kind in enumerate(spec.data, start=1) if kind == "ipv6_addr"),
    )


def _first_and_last(kind: str, text: str) -> tuple[int, int]:
    """The first and last value of a value, a CIDR or a range; ValueError if an address is invalid."""
    if kind == "inet_service":
        low, _, high = text.partition("-")
        return int(low), int(high or low)
    make, bits = (IPv4Address, 32) if kind == "ipv4_addr" else (IPv6Address, 128)
    low, dash, high = text.partition("-")
    if dash:
        return int(make(low)), int(make(high))
    base, _, prefix = text.partition("/")
    return int(make(base)), int(make(base)) + (1 << max(0, bits - int(prefix or bits))) - 1


@lru_cache(1 << 14)
def _is_canonical(kind: str, text: str) -> bool:
    try:
        first, last = _first_and_last(kind, text)
        return first <= last and format_range(kind, first, last) == text
    except ValueError:
        return False


def check_element(family: str, set_name: str, key: str, value: str) -> None:
    """Raise ValueError unless the element is in the grammar of its set.

    A quoted nft string has no escape, so every text for nft(8) passes here.
    """
    grammar = _grammar(family, set_name)
    found = grammar.key.fullmatch(key)
    if found is None or not all(_is_canonical(kind, found[group]) for group, kind in grammar.key_groups):
        raise ValueError(f"{key!r} is not in the form of a key of {set_name}")
    found = grammar.value.fullmatch(value)
    if found is None or not all(_is_canonical(kind, found[group]) for group, kind in grammar.value_groups):
        raise ValueError(f"{value!r} is not in the form of a value of {set_name}")


def is_element(family: str, set_name: str, key: str, value: str) -> bool:
    """Whether the element is in the grammar of its set."""
    try:
        check_element(family, set_name, key, value)
    except ValueError:
        return False
    return True


@lru_cache(1 << 15)
def parse_element(family: str, set_name: str, key: str, value: str) -> SetElement:
    """What an element says whose text is in the grammar of its set; the facts and the live state parse the same text."""
    return SETS[family][set_name].element.from_parts(
        set_name, key.split(CONCATENATION), value.split(CONCATENATION) if value else ()
    )


def parse_elements(family: str, elements: Iterable[tuple[str, str, str]], wanted: type[T]) -> Iterator[T]:
    """Those of a table's elements, as set, key and value, that are of one type."""
    for name, key, value in elements:
        if issubclass(SETS[family][name].element, wanted):
            yield cast("T", parse_element(family, name, key, value))


def format_element(element: SetElement) -> tuple[str, str, str]:
    """Its set, key and value, in the grammar of the set."""
    return element.set, CONCATENATION.join(element.key), CONCATENATION.join(element.data)


def _render(spec: SetSpec, kinds: tuple[str, ...], text: str) -> str:
    """A key or value for nft.

    Interface names are quoted, because a name such as `ip` would be a keyword; plain numbers are not.
    """
    parts = []
    for kind, part in zip(kinds, text.split(CONCATENATION), strict=True):
        if kind in ("ifname", "iface_index"):
            parts.append(f'"{part}"')
        elif kind == "ipv6_addr" and spec.typeof:
            parts.append(f"0x{int(IPv6Address(part)):032x}")
        else:
            parts.append(part)
    return CONCATENATION.join(parts)


def render_element(verb: str, table: tuple[str, str], set_name: str, key: str, value: str) -> str:
    """The nft command that adds (`add`) or removes (`delete`) an element of a table, given as its family and name.

    ValueError if a part is not in the grammar.
    """
    family, name = table
    table_name(*parse_table_name(name))
    check_element(family, set_name, key, value)
    spec = SETS[family][set_name]
    joint = spec.statement or ":"
    data = f" {joint} {_render(spec, spec.data, value)}" if value and verb == "add" else ""
    return f"{verb} element {family} {name} {set_name} {{ {_render(spec, spec.key, key)}{data} }}"
