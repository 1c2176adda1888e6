"""Reads one nftables table raw from the kernel (nfnetlink): its structure for comparison, its elements as canonical text.

libnftables can list a table too, but is slower. For a set of 10,000 elements it takes 270 ms, and 50 ms without the
elements; these dumps take 30 ms and 1 ms. The message and attribute numbers are those of linux/netfilter/nf_tables.h.
The numbers of key types are those of nftables' include/datatype.h, which nft(8) writes into each set.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.errors import HostError
from reconciler.kernel.netfilter.base_chains import devices_of, parse_hook
from reconciler.kernel.netfilter.set_values import LIMIT, ElementPart, format_single, parts_of, text_of_name
from reconciler.kernel.netfilter.table_memo import TableMemo
from reconciler.kernel.netlink.rtnetlink import (
    ANSWER_TIMEOUT_S,
    ATTRIBUTE,
    HEADER,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RECEIVE_BYTES,
    NetlinkError,
    attribute,
    parse_attributes,
    parse_error,
    parse_messages,
)
from reconciler.kinds.firewall.fast_path import parse_hook_name
from reconciler.kinds.firewall.sets import CONCATENATION

NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
GETTABLE, GETCHAIN, GETRULE, GETSET, GETSETELEM = 1, 4, 7, 10, 13
FAMILIES = {"": 0, "inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}  # NFPROTO_; "" is all of them
GENERIC = struct.Struct(">BBH")  # nfgenmsg: family, version, the low half of the ruleset's generation
TRIES = 8

TABLE_NAME, TABLE_FLAGS = 1, 2
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE, CHAIN_FLAGS = 1, 3, 4, 5, 7, 10
HOOK_NUMBER = 1
DROP = 0  # NF_DROP in linux/netfilter.h
IP_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
HOOKS = {"arp": ("input", "output", "forward"), "netdev": ("ingress", "egress")}
"""The names of hooks by their numbers, for families that differ from IP (linux/netfilter.h, netfilter_arp.h)."""
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
SET_TABLE, SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LEN, SET_DATA_TYPE, SET_DATA_LEN = 1, 2, 3, 4, 5, 6, 7
SET_POLICY, SET_TIMEOUT, SET_GC_INTERVAL, SET_EXPR, SET_EXPRESSIONS = 8, 11, 12, 17, 18
ELEM_LIST_TABLE, ELEM_LIST_SET, ELEM_LIST_ELEMENTS = 1, 2, 3
ELEM_KEY, ELEM_DATA, ELEM_FLAGS, ELEM_EXPR, ELEM_KEY_END = 1, 2, 3, 7, 10
EXPR_DATA, CONNLIMIT_COUNT = 2, 1
FLAG_ANONYMOUS, FLAG_INTERVAL, FLAG_TIMEOUT = 0x1, 0x4, 0x10
ELEM_INTERVAL_END = 0x1

SAME_STRUCTURE = {
    GETTABLE: (TABLE_FLAGS,),
    GETCHAIN: (CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE, CHAIN_FLAGS),
    GETRULE: (RULE_CHAIN, RULE_EXPRESSIONS),
    GETSET: (SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LEN, SET_DATA_TYPE, SET_DATA_LEN, SET_TIMEOUT, SET_EXPR, SET_EXPRESSIONS),
}
"""The attributes of each object that identify a table: no handles, uses and comments, which differ between equal ones."""

Structure = frozenset[tuple[object, ...]]
Element = tuple[str, str, str]


class _ChangedError(Exception):
    """The ruleset changed between two dumps, or during one."""


@dataclass(frozen=True, slots=True)
class TableDump:
    """A table as the kernel has it. Two tables with the same `structure` have the same sets, chains and rules."""

    structure: Structure
    elements: tuple[Element, ...]
    """(set, key, value) of its named sets."""
    hooks: tuple[tuple[str, str], ...] = ()
    """Of a netdev table, whose base chains are not in `structure`: their links, and the chain to which each sends packets."""


@dataclass(frozen=True, slots=True)
class _SetInfo:
    name: str
    flags: int
    key: tuple[ElementPart, ...]
    data: tuple[ElementPart, ...]


# --- dumps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """A chain of any table, of any program."""

    family: str
    table: str
    name: str
    hook: str = ""
    """The hook of a filtering base chain: `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress` or `egress`."""
    drops: bool = False
    """Whether its policy is drop."""
    devices: tuple[str, ...] = ()
    """The links of a netdev chain."""


class TableReader:
    """A netfilter socket in the namespace of the thread that creates it."""

    def __init__(self, memo: TableMemo | None = None) -> None:
        """OSError if the kernel gives no socket. `memo` is of the same namespace."""
        self.memo = memo
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._sequence = 0
        self._generation: int | None = None

    def close(self) -> None:
        """Close the socket, which also releases its namespace."""
        self._socket.close()

    def read_names(self, family: str) -> tuple[str, ...]:
        """The names of a family's tables, of any program. HostError if they cannot be read."""
        for _ in range(TRIES):
            self._generation = None
            try:
                tables = [dict(parse_attributes(body, GENERIC.size)) for body in self._dump(GETTABLE, family, b"")]
                return tuple(text_of_name(bytes(table[TABLE_NAME])) for table in tables)
            except _ChangedError:
                continue
            except OSError as error:
                raise HostError(f"cannot read the nftables tables: {error.strerror or error}") from error
        raise HostError(f"the nftables ruleset changed in each of {TRIES} readings", "try again")

    def read_table(self, family: str, name: str) -> TableDump | None:
        """The table, all of one generation of the ruleset; None if it does not exist. HostError if reading fails."""
        for _ in range(TRIES):
            self._generation = None
            try:
                return self._read_once(family, name)
            except _ChangedError:
                continue
            except OSError as error:
                raise HostError(f"cannot read the nftables table {family} {name}: {error.strerror or error}") from error
        raise HostError(
            f"the nftables ruleset changed in each of {TRIES} readings",
            "some other program keeps changing it; stop that one, or try again",
        )

    def read_chains(self) -> tuple[ChainInfo, ...]:
        """The chains of all tables. HostError if they cannot be read."""
        for _ in range(TRIES):
            self._generation = None
            try:
                return tuple(_parse_chain(body) for body in self._dump(GETCHAIN, "", b""))
            except _ChangedError:
                continue
            except OSError as error:
                raise HostError(f"cannot read the nftables chains: {error.strerror or error}") from error
        raise HostError(f"the nftables ruleset changed in each of {TRIES} readings", "try again")

    def read_rules(self, chain: ChainInfo) -> tuple[bytes, ...]:
        """The expressions of each rule of a chain, in order. HostError if they cannot be read."""
        owner = attribute(RULE_TABLE, chain.table.encode() + b"\0") + attribute(RULE_CHAIN, chain.name.encode() + b"\0")
        for _ in range(TRIES):
            self._generation = None
            try:
                rules = [dict(parse_attributes(body, GENERIC.size)) for body in self._dump(GETRULE, chain.family, owner)]
            except _ChangedError:
                continue
            except OSError as error:
                raise HostError(f"cannot read the nftables chain {chain.name}: {error.strerror or error}") from error
            # A kernel before 4.10 returns the rules of the whole table.
            mine = (rule for rule in rules if text_of_name(bytes(rule[RULE_CHAIN])) == chain.name)
            return tuple(bytes(rule.get(RULE_EXPRESSIONS, b"")) for rule in mine)
        raise HostError(f"the nftables ruleset changed in each of {TRIES} readings", "try again")

    def read_keys(self, family: str, table: str, name: str) -> tuple[bytes, ...]:
        """The keys of a set, as the kernel has them; empty if they cannot be read, or are intervals."""
        owner = attribute(ELEM_LIST_TABLE, table.encode() + b"\0") + attribute(ELEM_LIST_SET, name.encode() + b"\0")
        self._generation = None
        found: list[tuple[bytes, bytes, bytes, int]] = []
        try:
            for body in self._dump(GETSETELEM, family, owner):
                for number, value in parse_attributes(body, GENERIC.size):
                    found += _parse_elements(bytes(value)) if number == ELEM_LIST_ELEMENTS else ()
        except (_ChangedError, OSError):
            return ()
        has_intervals = any(first != last or flags & ELEM_INTERVAL_END for first, last, _, flags in found)
        return () if has_intervals else tuple(first for first, _, _, _ in found)

    def _read_once(self, family: str, name: str) -> TableDump | None:
        owner = attribute(CHAIN_TABLE, name.encode() + b"\0")
        tables = self._bodies(GETTABLE, family, b"")
        tables = [body for body in tables if text_of_name(bytes(dict(parse_attributes(memoryview(body)))[TABLE_NAME])) == name]
        if not tables:
            return None
        objects = {GETTABLE: tables, **{kind: self._bodies(kind, family, owner) for kind in (GETCHAIN, GETRULE, GETSET)}}
        sets = tuple(_parse_sets(objects[GETSET]))
        elements = [self._bodies(GETSETELEM, family, owner + _set_owner(info.name)) for info in sets]
        known = self.memo.dumps.get((family, name)) if self.memo else None
        if known and known[0] == (objects, elements):
            return known[1]
        structure, hooks = _parse_structure(family, name, objects)
        named: list[Element] = []
        for info, bodies in zip(sets, elements, strict=True):
            found = _parse_set_elements(info, bodies)
            if info.flags & FLAG_ANONYMOUS:  # part of a rule
                structure.update(found)
            else:
                named += found
        dump = TableDump(frozenset(structure), tuple(named), hooks)
        if self.memo:
            self.memo.dumps[family, name] = (objects, elements), dump
        return dump

    def _bodies(self, kind: int, family: str, attributes: bytes) -> list[bytes]:
        """The attributes of each object of one dump, without the ruleset's generation."""
        return [bytes(body[GENERIC.size :]) for body in self._dump(kind, family, attributes)]

    def _dump(self, kind: int, family: str, attributes: bytes) -> Iterator[memoryview]:
        """The bodies of one dump. _ChangedError if the ruleset's generation is not that of the dumps before."""
        self._sequence += 1
        body = GENERIC.pack(FAMILIES[family], 0, 0) + attributes
        header = HEADER.pack(HEADER.size + len(body), SUBSYSTEM | kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, 0)
        self._socket.send(header + body)
        bodies: list[memoryview] = []
        changed = False
        while True:
            # A dump that changed is read to its end: its rest would otherwise precede the answer to the next request.
            for number, flags, sequence, answer in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                changed |= bool(flags & NLM_F_DUMP_INTR)
                if number in (NLMSG_ERROR, NLMSG_DONE):
                    code, words = parse_error(flags, answer)
                    if changed or code in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                        raise _ChangedError  # an object of the dump before is gone
                    if code:
                        raise NetlinkError(f"cannot read nftables: {words or errno.errorcode.get(code, code)}", code)
                    return iter(bodies)
                generation = GENERIC.unpack_from(answer)[2]
                changed |= self._generation not in (None, generation)
                self._generation = generation
                bodies.append(answer)


def _set_owner(name: str) -> bytes:
    return attribute(ELEM_LIST_SET, name.encode() + b"\0")


def _parse_structure(
    family: str, name: str, objects: Mapping[int, Sequence[bytes]]
) -> tuple[set[tuple[object, ...]], tuple[tuple[str, str], ...]]:
    """What identifies a table but for the elements of its anonymous sets; and the hooks of a netdev table."""
    structure: set[tuple[object, ...]] = set()
    rules_of: dict[bytes, list[bytes]] = {}
    hooks: dict[str, tuple[bytes, bytes, list[bytes]]] = {}
    for kind, bodies in objects.items():
        for body in bodies:
            found = {number: bytes(value) for number, value in parse_attributes(memoryview(body))}
            if kind != GETTABLE and text_of_name(found[CHAIN_TABLE]) != name:
                continue  # chains of all tables arrive
            values: list[object] = [kind, *(found.get(number, b"") for number in SAME_STRUCTURE[kind])]
            if kind == GETCHAIN and CHAIN_HOOK in found and (dev := _hook_of(family, found[CHAIN_NAME])):
                hooks[dev] = found[CHAIN_HOOK], found.get(CHAIN_POLICY, b""), rules_of.setdefault(found[CHAIN_NAME], [])
                continue
            if kind == GETRULE:  # the order of rules in the chain matters
                rules = rules_of.setdefault(found[RULE_CHAIN], [])
                rules.append(found[RULE_EXPRESSIONS])
                values.append(len(rules))
                if _hook_of(family, found[RULE_CHAIN]) in hooks:
                    continue
            structure.add(tuple(values))
    return structure, tuple((dev, parse_hook(dev, *hook)) for dev, hook in hooks.items())


def _parse_sets(bodies: Iterable[bytes]) -> Iterator[_SetInfo]:
    for body in bodies:
        found = {number: bytes(value) for number, value in parse_attributes(memoryview(body))}
        if int.from_bytes(found.get(SET_FLAGS, b"")) & FLAG_TIMEOUT:
            continue  # only packets write those

        def number_of(key: int, found: dict[int, bytes] = found) -> int:
            return int.from_bytes(found.get(key, b""))

        limits = SET_EXPR in found
        yield _SetInfo(
            text_of_name(found[SET_NAME]),
            number_of(SET_FLAGS),
            parts_of(number_of(SET_KEY_TYPE), number_of(SET_KEY_LEN)),
            LIMIT if limits else parts_of(number_of(SET_DATA_TYPE), number_of(SET_DATA_LEN)),
        )


def _parse_set_elements(info: _SetInfo, bodies: Iterable[bytes]) -> list[Element]:
    raw: list[tuple[bytes, bytes, bytes, int]] = []
    for body in bodies:
        for number, value in parse_attributes(memoryview(body)):
            if number == ELEM_LIST_ELEMENTS:
                raw += _parse_elements(bytes(value))
    if info.flags & FLAG_INTERVAL:
        if len(info.key) == 1:
            raw = _pair_intervals(raw, info.key[0].size)
        keys = [CONCATENATION.join(part.format(first, last) for part in info.key) for first, last, _, _ in raw]
    else:
        keys = format_single(info.key, [one[0] for one in raw])
    values = format_single(info.data, [one[2] for one in raw])
    return [(info.name, key, value) for key, value in zip(keys, values, strict=True)]


def _hook_of(family: str, chain: bytes) -> str:
    """The link of a base chain of a netdev table, from its name; "" if it has none."""
    return parse_hook_name(text_of_name(chain)) if family == "netdev" else ""


def _parse_chain(body: memoryview) -> ChainInfo:
    """One chain. Only a base chain has a hook; a chain that translates addresses gets none here, because it drops nothing."""
    found = {number: bytes(value) for number, value in parse_attributes(body, GENERIC.size)}
    family = next((name for name, number in FAMILIES.items() if number == body[0]), str(body[0]))
    hook = dict(parse_attributes(memoryview(found.get(CHAIN_HOOK, b""))))
    filters = HOOK_NUMBER in hook and found.get(CHAIN_TYPE, b"").rstrip(b"\0") != b"nat"
    number = int.from_bytes(hook[HOOK_NUMBER]) if filters else -1
    drops = CHAIN_POLICY in found and int.from_bytes(found[CHAIN_POLICY]) == DROP
    names = HOOKS.get(family, IP_HOOKS)
    return ChainInfo(
        family,
        text_of_name(found[CHAIN_TABLE]),
        text_of_name(found[CHAIN_NAME]),
        names[number] if 0 <= number < len(names) else "",
        drops,
        tuple(device.decode("utf-8", "replace") for device in devices_of(found.get(CHAIN_HOOK, b"")) if device),
    )


def _parse_elements(data: bytes) -> Iterator[tuple[bytes, bytes, bytes, int]]:
    """(first key, last key, data, flags) of each element in a list of them.

    It is written for speed: a host with many published ports has ten thousand elements, and few other objects.
    """
    offset, total = 0, len(data)
    unpack = ATTRIBUTE.unpack_from
    while offset < total:
        length, _ = unpack(data, offset)
        position, end = offset + 4, offset + length
        first = last = value = b""
        flags = 0
        while position < end:
            size, number = unpack(data, position)
            number &= 0x3FFF
            if number == ELEM_KEY:
                first = data[position + 8 : position + size]  # past the header of the nested NFTA_DATA_VALUE too
            elif number == ELEM_KEY_END:
                last = data[position + 8 : position + size]
            elif number == ELEM_DATA:
                value = data[position + 8 : position + size]
            elif number == ELEM_EXPR:
                value = _read_limit(memoryview(data)[position + 4 : position + size])
            elif number == ELEM_FLAGS:
                flags = int.from_bytes(data[position + 4 : position + size])
            position += (size + 3) & ~3
        yield first, last or first, value, flags
        offset += (length + 3) & ~3


def _read_limit(expression: memoryview) -> bytes:
    """The number of a `ct count`, four bytes; empty for any other expression."""
    found = dict(parse_attributes(expression))
    return bytes(dict(parse_attributes(found[EXPR_DATA])).get(CONNLIMIT_COUNT, b""))


def _pair_intervals(raw: list[tuple[bytes, bytes, bytes, int]], size: int) -> list[tuple[bytes, bytes, bytes, int]]:
    """Intervals of one part, which the kernel stores as a start and the first value outside.

    Ends precede starts of the same value, so that adjacent intervals stay apart. A last interval may have no end.
    """
    paired: list[tuple[bytes, bytes, bytes, int]] = []
    start: tuple[bytes, bytes] | None = None
    # nft(8) pads a key of two bytes to four.
    trimmed = ((first[:size], data, flags) for first, _, data, flags in raw)
    for first, data, flags in sorted(trimmed, key=lambda one: (one[0], not one[2] & ELEM_INTERVAL_END)):
        if start is not None:
            before = (int.from_bytes(first) - 1).to_bytes(size)
            paired.append((start[0], before, start[1], 0))
        start = None if flags & ELEM_INTERVAL_END else (first, data)
    if start is not None:
        paired.append((start[0], b"\xff" * size, start[1], 0))
    return paired
