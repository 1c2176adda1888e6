"""Options of links in netlink messages, by the tables of the kinds (`kinds.links`): iproute2's names to attributes and back."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from reconciler.kernel.netlink.rtnetlink import attribute, find_attributes
from reconciler.kinds.links import LINKS, port
from reconciler.kinds.links.base import Options
from reconciler.kinds.links.wire import Table

BY_KIND: dict[str, tuple[Table, ...]] = {kind.kind: kind.wire for kind in LINKS if kind.wire}
PORT_TABLES: tuple[Table, ...] = (port.WIRE,)
LOWER_DEVICE = {kind.kind: kind.lower_option for kind in LINKS if kind.lower_option}
"""The option for the link below, which is an interface number in netlink."""

_NAMES = {
    id(tables): {number: (name, codec) for table in tables for name, (number, codec) in table.items()}
    for tables in (*BY_KIND.values(), PORT_TABLES)
}


def encode_options(tables: tuple[Table, ...], options: Options) -> bytes:
    """The attributes of all options. ValueError for a name that the tables lack, or an invalid value."""
    return b"".join(_encode_option(tables, name, value) for name, value in options)


def _encode_option(tables: Iterable[Table], name: str, value: str) -> bytes:
    tried = False
    for table in tables:
        if name in table:
            number, codec = table[name]
            tried = True
            try:
                return attribute(number, codec.encode(value))
            except (ValueError, struct.error):
                continue  # an IPv6 address in the table of IPv4
    raise ValueError(f"invalid value of {name}: {value!r}" if tried else f"unknown option: {name}")


def parse_options(tables: tuple[Table, ...], data: memoryview) -> Options:
    """The options in the tables, sorted by name; a value of a wrong size is left out."""
    names = _NAMES[id(tables)]
    found = [(names[number], value) for number, value in find_attributes(data, 0, names).items()]
    return tuple(sorted((name, codec.decode(bytes(value))) for (name, codec), value in found if len(value) == codec.size))
