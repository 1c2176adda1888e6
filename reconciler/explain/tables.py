"""A host's nftables tables as a packet meets them: the elements of the sets, and the run through a base chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Literal

from reconciler.explain.rules import Match, ParsedChain, ParsedRule, Program, Statement, Verdict, program_of
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.program import SETS
from reconciler.kinds.firewall.set_elements import GOTO
from reconciler.kinds.firewall.sets import CONCATENATION

Value = str | frozenset[str]
Fields = Mapping[str, Value]
"""What a rule can ask of a packet: by nft's selector (`ip saddr`), a value, or several flags. An absent key never matches."""

Outcome = Literal["accept", "drop", "reject", "forward"]
STATUS_BITS = {"snat": 0x10, "confirmed": 0x8, "dnat": 0x20, "assured": 0x4}
"""Bits of `ct status` (linux/netfilter/nf_conntrack_common.h)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that matched a packet: the elements that it found, and its verdict ("" if the chain goes on)."""

    rule: ParsedRule
    verdict: str
    elements: tuple[FirewallElement, ...] = ()
    subnet: str = ""
    """Of a table that belongs to a subnet."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A new address, and of a target also the port.

    The outgoing link decides the address of `masquerade`, the incoming one that of `redirect`.
    """

    kind: Literal["dnat", "redirect", "snat", "masquerade"]
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a base chain: a verdict, and what it did besides."""

    verdict: Outcome
    hits: tuple[Hit, ...] = ()
    translation: Translation | None = None
    untracked: bool = False
    device: str = ""
    """The link to which a fast path forwards, and the next hop there."""
    hop: str = ""


@dataclass(slots=True)
class SetIndex:
    """The elements of one set: those of single values by their key, and those with ranges in a list."""

    exact: dict[tuple[str, ...], FirewallElement] = field(default_factory=dict)
    ranges: list[tuple[tuple[str, ...], FirewallElement]] = field(default_factory=list)

    def add(self, record: FirewallElement) -> None:
        """Add an element."""
        parts = tuple(record.key.split(CONCATENATION))
        if any(_is_range(part) for part in parts):
            self.ranges.append((parts, record))
        else:
            self.exact[parts] = record

    def find(self, parts: tuple[str, ...]) -> FirewallElement | None:
        """The element that has these values."""
        if found := self.exact.get(parts):
            return found
        return next(
            (one for held, one in self.ranges if all(fits(part, pattern) for part, pattern in zip(parts, held, strict=True))),
            None,
        )


class Table:
    """A table of a host: its program, and its elements by set."""

    def __init__(self, family: str, topology: str, subnet: str = "") -> None:
        """A table without elements."""
        self.family, self.subnet = family, subnet
        self.program: Program = program_of(family, topology, subnet)
        self.sets: dict[str, SetIndex] = {}
        self.is_intact = True
        """Whether its rules are those of the program."""

    def add(self, element: FirewallElement) -> None:
        """Add an element to its set."""
        self.sets.setdefault(element.set, SetIndex()).add(element)

    def find(self, name: str, parts: tuple[str, ...]) -> FirewallElement | None:
        """The element of a set; None if there is none. A set that limits never matches a single packet."""
        spec = SETS[self.family].get(name)
        if spec is None or spec.statement:
            return None
        return self.sets[name].find(parts) if name in self.sets else None

    def chains(self, hook: str) -> list[ParsedChain]:
        """The base chains at a hook, in the order of their priorities."""
        found = (chain for chain in self.program.values() if chain.hook == hook)
        return sorted(found, key=lambda chain: chain.priority)

    def run(self, chain: str, fields: Fields) -> Run:
        """The packet's way through a base chain, whose policy is accept, or through the chain that a hook goes to."""
        return _Runner(self, fields).run(chain)


class _Runner:
    def __init__(self, table: Table, fields: Fields) -> None:
        self._table, self._fields = table, fields
        self._hits: list[Hit] = []
        self._result = Run("accept")

    def run(self, chain: str) -> Run:
        final = self._walk(chain)
        verdict: Outcome = "forward" if self._result.device else "accept"
        if final and final.action in ("drop", "reject"):
            verdict = "drop" if final.action == "drop" else "reject"
        return replace(self._result, verdict=verdict, hits=tuple(self._hits))

    def _walk(self, name: str) -> Verdict | None:
        """The final verdict of a chain; None if it ends without one."""
        for rule in self._table.program[name].rules:
            verdict = self._try(rule)
            match verdict:
                case None:
                    continue
                case Verdict("return"):
                    return None
                case Verdict("jump"):
                    if final := self._walk(verdict.chain):
                        return final
                case Verdict("goto"):
                    return self._walk(verdict.chain)
                case _:
                    return verdict
        return None

    def _try(self, rule: ParsedRule) -> Verdict | None:
        """The verdict of a rule that matches; None if it does not match, or lets the chain go on."""
        elements: list[FirewallElement] = []
        verdict: Verdict | None = None
        for part in rule.parts:
            if isinstance(part, Match):
                found, taken = self._match(part, elements)
                if not found:
                    return None
                verdict = taken or verdict
            elif isinstance(part, Statement):
                done = self._do(part, elements)
                if done is None:
                    return None
                verdict = done or verdict
            else:
                verdict = part
        words = " ".join(filter(None, (verdict.action, verdict.chain))) if verdict else ""
        self._hits.append(Hit(rule, words, tuple(elements), self._table.subnet))
        return verdict

    def _values(self, keys: Iterable[str]) -> tuple[str, ...] | None:
        found = [self._fields.get(key) for key in keys]
        values = tuple(value for value in found if isinstance(value, str))
        return values if len(values) == len(found) else None

    def _match(self, part: Match, elements: list[FirewallElement]) -> tuple[bool, Verdict | None]:
        """Whether the packet meets the condition, and the verdict of a verdict map."""
        if part.operator == "vmap":
            return self._in_verdicts(part, elements)
        if len(part.keys) == 1 and not part.operand.startswith("@"):
            value = self._fields.get(part.keys[0])
            return value is not None and _compare(part, value), None
        values = self._values(part.keys)
        if values is None:
            return False, None
        element = self._table.find(part.operand[1:], values)
        if element and part.operator == "==":
            elements.append(element)
        return (element is None) == (part.operator == "!="), None

    def _in_verdicts(self, part: Match, elements: list[FirewallElement]) -> tuple[bool, Verdict | None]:
        values = self._values(part.keys)
        if values is None:
            return False, None
        if part.operand.startswith("@"):
            element = self._table.find(part.operand[1:], values)
            if element is None:
                return False, None
            elements.append(element)
            return True, Verdict("goto", element.value.removeprefix(GOTO))
        pairs = dict(pair.strip().split(" : ") for pair in part.operand.strip("{} ").split(","))
        chosen = pairs.get(values[0])
        return chosen is not None, Verdict("goto", chosen.removeprefix(GOTO)) if chosen else None

    def _do(self, part: Statement, elements: list[FirewallElement]) -> Verdict | Literal[""] | None:
        """The verdict of a statement, "" if it has none; None if the rule does not apply."""
        if part.effect == "limit":
            return None  # one packet is below each limit
        if part.effect == "notrack":
            self._result = replace(self._result, untracked=True)
        if part.effect == "masquerade":
            self._result = replace(self._result, translation=Translation("masquerade"))
            return Verdict("accept")
        if part.effect in ("dnat", "redirect", "snat", "fwd"):
            return self._look_up(part, elements)
        return ""

    def _look_up(self, part: Statement, elements: list[FirewallElement]) -> Verdict | Literal[""] | None:
        data = []
        for keys, name in part.lookups:
            values = self._values(keys)
            element = self._table.find(name, values) if values else None
            if element is None:
                return None
            elements.append(element)
            data.append(element.value.split(CONCATENATION))
        if part.family and self._fields.get("meta protocol") != part.family:
            return ""  # the kernel looks up the key, and then leaves the packet as it is (nft_nat_inet_eval)
        if part.effect == "fwd":
            known = self._fields.get(part.to, "")
            hop = data[0][0] if len(data) == 2 else str(known)
            self._result = replace(self._result, device=data[-1][0], hop=hop if part.to or len(data) == 2 else "")
        elif part.effect == "redirect":
            self._result = replace(self._result, translation=Translation("redirect", port=int(data[0][0])))
        else:
            address, *port = data[0]
            kind: Literal["dnat", "snat"] = "dnat" if part.effect == "dnat" else "snat"
            self._result = replace(self._result, translation=Translation(kind, address, int(port[0]) if port else 0))
        return Verdict("accept")


def _compare(part: Match, value: Value) -> bool:
    """Whether a value is, or is not, among those of the condition."""
    if part.operator == "exists":
        return value == "yes"
    if part.mask is not None:
        number = sum(STATUS_BITS[flag] for flag in value) if isinstance(value, frozenset) else int(value, 0)
        return (number & part.mask == int(part.operand, 0)) == (part.operator != "!=")
    if part.operator in (">", ">="):
        bound = int(part.operand, 0)
        return not isinstance(value, frozenset) and (int(value, 0) > bound or (part.operator == ">=" and int(value, 0) == bound))
    wanted = [one.strip().strip('"') for one in part.operand.strip("{}").split(",")]
    held = value if isinstance(value, frozenset) else (value,)
    return any(fits(one, pattern) for one in held for pattern in wanted) == (part.operator == "==")


def _is_range(part: str) -> bool:
    """Whether the part of a key is a CIDR or a range; a name of a link may have a `-`, too."""
    return "/" in part or (bool(part) and "-" in part and all(_is_plain(side) for side in part.split("-", 1)))


@lru_cache(1 << 14)
def _is_plain(text: str) -> bool:
    """Whether the text is a number or an address."""
    if text.isdigit() or text.startswith("0x"):
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(1 << 16)
def fits(value: str, pattern: str) -> bool:
    """Whether a value is equal to another, or in a CIDR or a range."""
    if value == pattern:
        return True
    try:
        if "/" in pattern:
            return ip_address(value) in ip_network(pattern)
        low, dash, high = pattern.partition("-")
        if not dash:
            return False
        if _is_plain(low) and not (low.isdigit() or low.startswith("0x")):
            return ip_address(value).version == ip_address(low).version and (
                int(ip_address(low)) <= int(ip_address(value)) <= int(ip_address(high))
            )
        if ":" in low:
            return low <= value <= high  # hardware addresses, in lower case
        return int(low, 0) <= int(value, 0) <= int(high, 0)
    except ValueError:
        return False
