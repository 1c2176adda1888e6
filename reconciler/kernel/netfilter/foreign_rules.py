"""Foreign rules as conditions and a verdict, in enough detail to decide whether a drop concerns netctl's packets.

Pure, but for sets, which `read_keys` reads. A rule is a list of expressions (nft --debug=netlink shows them); the
numbers of their attributes are those of linux/netfilter/nf_tables.h. An unknown expression becomes an unknown
condition. iptables-nft writes the same expressions, and its own matches as `match` with the structures of
linux/netfilter/xt_*.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.kernel.netlink.rtnetlink import NetlinkError, parse_attributes
from reconciler.state.uapi import PORT_MAX, PROTOCOLS

UNKNOWN = "…"
"""A condition with an unknown meaning."""
VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto", -5: "return"}  # NF_DROP …, NFT_JUMP …
META = {3: "mark", 4: "iif", 5: "oif", 6: "iifname", 7: "oifname", 15: "family", 16: "protocol", 1: "family"}  # NFT_META_
PAYLOADS = {(2, 0, 2): "sport", (2, 2, 2): "dport", (2, 0, 1): "icmp type", (1, 9, 1): "protocol", (1, 6, 1): "protocol"}
"""By base (1: network header, 2: transport header), offset and length."""
ADDRESSES = {12: "saddr", 16: "daddr", 8: "saddr", 24: "daddr"}
"""In a network header, by the offset; the offsets of IPv4 and of IPv6 do not collide for these fields."""
CT_STATE = 0  # NFT_CT_STATE
STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}  # NF_CT_STATE_BIT
XT_STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}  # XT_CONNTRACK_STATE_BIT
XT_CONNTRACK_STATE = 1
PROTOCOL_NAMES = {1: "icmp", 58: "icmpv6"} | {number: name for name, number in PROTOCOLS.items()}
SILENT = frozenset((b"counter", b"log", b"objref", b"notrack", b"last"))
"""Expressions without a match or a verdict."""
SILENT_MATCHES, SILENT_TARGETS = frozenset((b"comment",)), frozenset((b"LOG", b"NFLOG", b"MARK", b"CONNMARK", b"TCPMSS"))

ReadKeys = Callable[[str], Sequence[bytes]]
"""The keys of a set of the rule's table, by its name."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`what` is one of `values` (or none of them: `negated`). A mark is `0x1000/0x1000`: value and mask."""

    what: str
    values: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """`verdict` is drop, accept, jump, goto or return; "" for none."""

    conditions: tuple[Condition, ...]
    verdict: str = ""
    target: str = ""
    """The chain of a jump."""


@dataclass(slots=True)
class _Reading:
    """The state while a rule is parsed: the content of each register, and its mask."""

    links: Mapping[int, str]
    read_keys: ReadKeys
    held: dict[int, tuple[str, int]] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    verdict: tuple[str, str] = ("", "")


def parse_rule(expressions: bytes, links: Mapping[int, str], read_keys: ReadKeys) -> Rule:
    """The rule with these expressions; `links` are the names of the host's links by their numbers.

    Other programs may write anything: a rule that cannot be parsed may do anything.
    """
    reading = _Reading(links, read_keys)
    try:
        _read(reading, expressions)
    except (NetlinkError, KeyError, IndexError, ValueError, struct.error):
        return Rule((Condition(UNKNOWN),), "drop")
    return Rule(tuple(reading.conditions), *reading.verdict)


def _read(reading: _Reading, expressions: bytes) -> None:
    for _, expression in parse_attributes(memoryview(expressions)):
        parts = dict(parse_attributes(expression))
        name = bytes(parts[1]).rstrip(b"\0")
        data = {number: bytes(value) for number, value in parse_attributes(parts[2])} if 2 in parts else {}
        if name in READERS:
            READERS[name](reading, data)
        elif name not in SILENT:
            reading.conditions.append(Condition(UNKNOWN))


def _number(data: Mapping[int, bytes], key: int) -> int:
    return int.from_bytes(data.get(key, b""))


def _value(data: Mapping[int, bytes], key: int) -> bytes:
    """The bytes within a nested NFTA_DATA_VALUE."""
    return bytes(dict(parse_attributes(memoryview(data.get(key, b"")))).get(1, b""))


# --- loads -----------------------------------------------------------


def _meta(reading: _Reading, data: Mapping[int, bytes]) -> None:
    if 1 in data:  # it may also set one
        reading.held[_number(data, 1)] = META.get(_number(data, 2), UNKNOWN), 0


def _payload(reading: _Reading, data: Mapping[int, bytes]) -> None:
    base, offset, length = _number(data, 2), _number(data, 3), _number(data, 4)
    what = PAYLOADS.get((base, offset, length), UNKNOWN)
    if base == 1 and offset in ADDRESSES and length <= 16:
        what = ADDRESSES[offset]
    reading.held[_number(data, 1)] = what, 0


def _ct(reading: _Reading, data: Mapping[int, bytes]) -> None:
    reading.held[_number(data, 1)] = "ct state" if _number(data, 2) == CT_STATE else UNKNOWN, 0


def _other(reading: _Reading, _: Mapping[int, bytes]) -> None:
    """Another expression with a result (fib, socket …): the register is among its first attributes."""
    reading.held.update(dict.fromkeys(range(1, 24), (UNKNOWN, 0)))


def _bitwise(reading: _Reading, data: Mapping[int, bytes]) -> None:
    what, _ = reading.held.get(_number(data, 1), (UNKNOWN, 0))
    flips = any(_value(data, 5))
    reading.held[_number(data, 2)] = (UNKNOWN if flips else what), int.from_bytes(_value(data, 4), "little")


# --- comparison -------------------------------------------------------------------------------------------------------


def _cmp(reading: _Reading, data: Mapping[int, bytes]) -> None:
    what, mask = reading.held.get(_number(data, 1), (UNKNOWN, 0))
    operation, value = _number(data, 2), _value(data, 3)
    if operation > 1:
        _bound(reading, what, operation, int.from_bytes(value))
    elif what == "ct state":  # `ct state new` is one: the bit is not 0
        states = tuple(name for bit, name in STATES.items() if bit & mask)
        is_any = operation == 1 and not any(value)
        reading.conditions.append(Condition(what, states) if is_any and states else Condition(UNKNOWN))
    elif what == "mark":
        text = f"{int.from_bytes(value, 'little'):#x}/{mask or 0xFFFFFFFF:#x}"
        reading.conditions.append(Condition(what, (text,), operation == 1))
    else:
        reading.conditions.append(_condition(reading, what, (value,), negated=operation == 1))


def _bound(reading: _Reading, what: str, operation: int, value: int) -> None:
    """A comparison by size. nft(8) writes a range of ports as two: at least the first, at most the last."""
    first, last = {2: (0, value - 1), 3: (0, value), 4: (value + 1, PORT_MAX), 5: (value, PORT_MAX)}.get(operation, (0, PORT_MAX))
    if what not in ("sport", "dport"):
        reading.conditions.append(Condition(UNKNOWN))
        return
    before = reading.conditions[-1] if reading.conditions else Condition("")
    if before.what == what and before.values[0].endswith(f"-{PORT_MAX}") and not before.negated:
        first = max(first, int(before.values[0].partition("-")[0]))
        reading.conditions.pop()
    reading.conditions.append(Condition(what, (f"{first}-{last}",)))


def _range(reading: _Reading, data: Mapping[int, bytes]) -> None:
    what, _ = reading.held.get(_number(data, 1), (UNKNOWN, 0))
    first, last = int.from_bytes(_value(data, 3)), int.from_bytes(_value(data, 4))
    known = what in ("sport", "dport")
    reading.conditions.append(Condition(what, (f"{first}-{last}",), _number(data, 2) == 1) if known else Condition(UNKNOWN))


def _lookup(reading: _Reading, data: Mapping[int, bytes]) -> None:
    what, _ = reading.held.get(_number(data, 2), (UNKNOWN, 0))
    name = data.get(1, b"").rstrip(b"\0").decode("utf-8", "replace")
    if 3 in data or not name.startswith("__set"):  # a map decides by itself; a named set can change at any time
        reading.conditions.append(Condition(UNKNOWN))
        return
    keys = tuple(reading.read_keys(name))
    reading.conditions.append(_condition(reading, what, keys, negated=bool(_number(data, 5) & 1)) if keys else Condition(UNKNOWN))


def _condition(reading: _Reading, what: str, values: Sequence[bytes], *, negated: bool) -> Condition:
    texts: Iterator[str]
    if what in ("iif", "oif"):
        texts = (reading.links.get(int.from_bytes(value, "little"), "?") for value in values)
        what = f"{what}name"
    elif what in ("iifname", "oifname"):  # a prefix has no 0 at its end
        texts = (value.rstrip(b"\0").decode("utf-8", "replace") + ("" if value.endswith(b"\0") else "*") for value in values)
    elif what == "protocol":
        texts = (PROTOCOL_NAMES.get(value[0], str(value[0])) for value in values if value)
    elif what in ("sport", "dport"):
        texts = (str(int.from_bytes(value[:2])) for value in values)
    elif what == "icmp type":
        texts = (str(value[0]) for value in values if value)
    elif what == "ct state":
        texts = (STATES.get(int.from_bytes(value, "little"), UNKNOWN) for value in values)
    elif what == "family":  # of netfilter, or of Ethernet
        texts = ("ip" if value in (b"\2", b"\x08\0") else "other" for value in values)
    elif what in ("saddr", "daddr"):
        return Condition(what, (), negated)
    else:
        return Condition(UNKNOWN)
    return Condition(what, tuple(texts), negated)


# --- matches of iptables ----------------------------------------------------------------------------------------------


def _match(reading: _Reading, data: Mapping[int, bytes]) -> None:
    name, info = data.get(1, b"").rstrip(b"\0"), data.get(3, b"")
    if name in SILENT_MATCHES:
        return
    if name == b"mark" and len(info) >= 9:
        mark, mask, inverted = struct.unpack_from("=IIB", info)
        reading.conditions.append(Condition("mark", (f"{mark:#x}/{mask:#x}",), bool(inverted)))
    elif name in (b"tcp", b"udp") and len(info) >= 8:
        first, last = struct.unpack_from("=HH", info, 4)
        plain = (first, last) != (0, PORT_MAX) and struct.unpack_from("=HH", info) == (0, PORT_MAX)
        reading.conditions.append(Condition("dport", (f"{first}-{last}",)) if plain else Condition(UNKNOWN))
    elif name in (b"icmp", b"icmp6") and len(info) >= 4 and not info[3]:
        reading.conditions.append(Condition("icmp type", (str(info[0]),)))
    elif name == b"conntrack" and len(info) >= 154:
        flags, inverted, states = struct.unpack_from("=HHH", info, 146)
        text = tuple(word for bit, word in XT_STATES.items() if bit & states)
        is_plain = flags == XT_CONNTRACK_STATE
        reading.conditions.append(Condition("ct state", text, bool(inverted & flags)) if is_plain else Condition(UNKNOWN))
    else:
        reading.conditions.append(Condition(UNKNOWN))


# --- verdicts ---------------------------------------------------------------------------------------------------------


def _immediate(reading: _Reading, data: Mapping[int, bytes]) -> None:
    verdict = dict(parse_attributes(memoryview(data.get(2, b"")))).get(2)
    if verdict is not None:  # else a value is loaded
        found = {number: bytes(value) for number, value in parse_attributes(verdict)}
        code = int.from_bytes(found.get(1, b""), signed=True)
        reading.verdict = VERDICTS.get(code, ""), found.get(2, b"").rstrip(b"\0").decode("utf-8", "replace")


def _reject(reading: _Reading, _: Mapping[int, bytes]) -> None:
    reading.verdict = "drop", ""


def _target(reading: _Reading, data: Mapping[int, bytes]) -> None:
    name = data.get(1, b"").rstrip(b"\0")
    if name in (b"REJECT", b"DROP"):
        reading.verdict = "drop", ""
    elif name not in SILENT_TARGETS:
        reading.conditions.append(Condition(UNKNOWN))


READERS: dict[bytes, Callable[[_Reading, Mapping[int, bytes]], None]] = {
    b"meta": _meta,
    b"payload": _payload,
    b"ct": _ct,
    b"fib": _other,
    b"socket": _other,
    b"rt": _other,
    b"exthdr": _other,
    b"bitwise": _bitwise,
    b"cmp": _cmp,
    b"range": _range,
    b"lookup": _lookup,
    b"match": _match,
    b"immediate": _immediate,
    b"reject": _reject,
    b"target": _target,
}
