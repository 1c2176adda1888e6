"""The chains of netctl's nftables programs as data, parsed from the text that nft(8) gets (`kinds.firewall.program`).

There is no second description of the rules that could differ from the first. The parser knows the few forms of nft(8)
that the programs use. It raises ValueError for any other form, so that a new rule is not silently ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

from reconciler.kinds.firewall.program import render_table, table_name

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = "prerouting", "input", "forward", "output", "postrouting"
"""The hooks that packets of a host pass (nft(8), address family hooks)."""

_SELECTOR = re.compile(
    r"""
    fib\ saddr\ \.\ iif\ oif | fib\ daddr\ type
    | ct\ (?:original|reply)\ ip6?\ [sd]addr | ct\ (?:state|direction|status)
    | rt\ ip6?\ nexthop
    | meta\ (?!mark\ set)(?:[a-z0-9]+)
    | iifname | oifname | iif
    | (?:ip6?|ether|icmp|icmpv6|udp|th|arp|frag|exthdr)\ [a-z0-9-]+(?:\ (?:ether|ip)(?=\s))?
    | @[nt]h,[0-9]+,[0-9]+
    """,
    re.VERBOSE,
)
_MASK = re.compile(r" & (\S+)")
_OPERATOR = re.compile(r" (!=|==|>=|>|exists|vmap)(?= |$)")
_OPERAND = re.compile(r' (\{[^}]*\}|@[a-z0-9_]+|"[^"]*"|\S+)')
_VERDICT = re.compile(r"(jump|goto) (\S+)|(return|accept|drop)\b|(reject)\b.*")
_RANGE = re.compile(r" : [0-9]+-[0-9]+")

Action = Literal["jump", "goto", "return", "accept", "drop", "reject"]
Operator = Literal["==", "!=", ">", ">=", "exists", "vmap"]
Effect = Literal["dnat", "redirect", "snat", "masquerade", "fwd", "notrack", "limit", "none"]


@dataclass(frozen=True, slots=True)
class Match:
    """A condition: the `keys` of a packet, looked up in `operand` (a set, values in braces, or one value)."""

    keys: tuple[str, ...]
    operator: Operator
    operand: str
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ends the run of a chain, or goes to another one."""

    action: Action
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """Anything else that a rule does. `lookups` are its maps: the keys and the name of each."""

    effect: Effect
    lookups: tuple[tuple[tuple[str, ...], str], ...] = ()
    to: str = ""
    """Of a `fwd` with a next hop that is no map: the key that has it."""
    family: str = ""
    """The only family that it translates: `ip` or `ip6`."""


@dataclass(frozen=True, slots=True)
class ParsedRule:
    """A rule: its place, its text, and its parts in order."""

    family: str
    chain: str
    number: int
    text: str
    parts: tuple[Match | Verdict | Statement, ...]


@dataclass(frozen=True, slots=True)
class ParsedChain:
    """A chain; of a base chain the type, the hook and the priority."""

    name: str
    rules: tuple[ParsedRule, ...]
    type: str = ""
    hook: str = ""
    priority: int = 0


Program = Mapping[str, ParsedChain]
"""The chains of a table by name."""


@cache
def program_of(family: str, topology: str, subnet: str = "") -> Program:
    """The program of a topology's table. ValueError if a rule has a form that this module does not know."""
    lines = iter(render_table(family, table_name(topology, subnet)).splitlines())
    found = {}
    for line in lines:
        if head := re.fullmatch(r"\tchain (\S+) \{", line):
            found[head[1]] = _parse_chain(family, head[1], lines)
    return found


def _parse_chain(family: str, name: str, lines: Iterator[str]) -> ParsedChain:
    rules: list[ParsedRule] = []
    base: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        if text == "}":
            break
        if head := re.fullmatch(r"type (?P<type>\w+) hook (?P<hook>\w+) priority (?P<priority>-?\d+);.*", text):
            base = head.groupdict()
        else:
            rules.append(ParsedRule(family, name, len(rules), text, tuple(parse_rule(text))))
    return ParsedChain(name, tuple(rules), base.get("type", ""), base.get("hook", ""), int(base.get("priority", "0")))


def parse_rule(text: str) -> Iterator[Match | Verdict | Statement]:
    """The parts of a rule in order; ValueError for a form that no program of netctl's has."""
    rest = text
    while rest:
        if found := _VERDICT.match(rest):
            yield Verdict(cast("Action", found[1] or found[3] or found[4]), found[2] or "")
            rest = rest[found.end() :].lstrip()
            continue
        part, rest = _parse_statement(rest) or _parse_match(rest)
        yield part
        rest = rest.lstrip()


def _parse_statement(text: str) -> tuple[Statement, str] | None:
    """A statement and the rest of the text; None if the text begins with a condition."""
    if text.startswith("notrack"):
        return Statement("notrack"), text.removeprefix("notrack")
    if found := re.match(r"masquerade(?: to :\d+-\d+)?", text):
        return Statement("masquerade"), text[found.end() :]
    if found := re.match(r"(dnat|snat) (ip6?) to ", text):
        keys, rest = _parse_keys(text[found.end() :])
        name, rest = _parse_map(rest)
        tail = _RANGE.match(rest)
        effect: Effect = "dnat" if found[1] == "dnat" else "snat"
        return Statement(effect, ((keys, name),), family=found[2]), rest[tail.end() :] if tail else rest
    if text.startswith("redirect to :"):
        keys, rest = _parse_keys(text.removeprefix("redirect to :"))
        name, rest = _parse_map(rest)
        return Statement("redirect", ((keys, name),)), rest
    if text.startswith("fwd "):
        return _parse_forward(text)
    if found := re.match(r"(?:add|update) @\S+ \{[^}]*\}", text):
        return Statement("limit" if "limit rate over" in found[0] else "none"), text[found.end() :]
    if found := re.match(r"limit rate over \S+(?: burst \d+ packets)?", text):
        return Statement("limit"), text[found.end() :]
    if found := re.match(r'ct timeout set "\w+"|meta mark set meta mark \| \S+', text):
        return Statement("none"), text[found.end() :]
    return None


def _parse_forward(text: str) -> tuple[Statement, str]:
    """`fwd to KEY map @m`, or with a next hop: `fwd ip to KEY [map @m] device KEY map @m`."""
    if text.startswith("fwd to "):
        keys, rest = _parse_keys(text.removeprefix("fwd to "))
        name, rest = _parse_map(rest)
        return Statement("fwd", ((keys, name),)), rest
    found = re.match(r"fwd ip6? to ", text)
    if not found:
        raise ValueError(f"an unknown statement: {text}")
    keys, rest = _parse_keys(text[found.end() :])
    hops: tuple[tuple[tuple[str, ...], str], ...] = ()
    if rest.startswith(" map "):
        name, rest = _parse_map(rest)
        hops = ((keys, name),)
    device, rest = _parse_keys(rest.removeprefix(" device "))
    name, rest = _parse_map(rest)
    return Statement("fwd", (*hops, (device, name)), to="" if hops else keys[0]), rest


def _parse_map(text: str) -> tuple[str, str]:
    found = re.match(r" map @(\w+)", text)
    if not found:
        raise ValueError(f"no map in: {text}")
    return found[1], text[found.end() :]


def _parse_keys(text: str) -> tuple[tuple[str, ...], str]:
    """The selectors of a concatenation, and the rest."""
    keys = []
    while True:
        found = _SELECTOR.match(text)
        if not found:
            raise ValueError(f"an unknown condition: {text}")
        keys.append(found[0])
        text = text[found.end() :]
        if not text.startswith(" . "):
            return tuple(keys), text
        text = text.removeprefix(" . ")


def _parse_match(text: str) -> tuple[Match, str]:
    keys, rest = _parse_keys(text)
    mask = _MASK.match(rest)
    rest = rest[mask.end() :] if mask else rest
    found = _OPERATOR.match(rest)
    operator = cast("Operator", found[1] if found else "==")
    rest = rest[found.end() :] if found else rest
    if operator == "exists":
        return Match(keys, "exists", ""), rest
    operand = _OPERAND.match(rest)
    if not operand:
        raise ValueError(f"no value in: {text}")
    number = int(mask[1], 0) if mask else None
    return Match(keys, operator, operand[1], number), rest[operand.end() :]
