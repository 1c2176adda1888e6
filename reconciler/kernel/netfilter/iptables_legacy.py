"""The rules of iptables-legacy, which the kernel keeps apart from nftables and does not show there.

The command itself creates missing tables. So it is run only if /proc lists them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.kernel.netfilter.foreign_rules import UNKNOWN, Condition, Rule
from reconciler.kernel.netfilter.iptables import run_iptables

TOOLS = (("ip", "iptables-legacy", "ip_tables_names"), ("ip6", "ip6tables-legacy", "ip6_tables_names"))
"""By family: the command, and the file that lists the existing tables (ip_tables.c)."""
PROC = Path("/proc/thread-self/net")
MARK = re.compile(r"0x[0-9a-f]+(/0x[0-9a-f]+)?")
VERDICTS = {"DROP": "drop", "REJECT": "drop", "ACCEPT": "accept", "RETURN": "return"}
WITH_VALUE = dict(
    [
        *(("-i", "iifname"), ("-o", "oifname"), ("-s", "saddr"), ("-d", "daddr")),
        *(("-p", "protocol"), ("--icmp-type", "icmp type"), ("--icmpv6-type", "icmp type")),
    ]
)
HARMLESS = frozenset(("mark", "tcp", "udp", "conntrack", "state", "icmp", "icmp6", "comment"))
"""Modules (`-m`) that only announce the words that follow."""


@dataclass(frozen=True, slots=True)
class LegacyChain:
    """A chain; `drops` is its policy."""

    name: str
    drops: bool = False
    rules: tuple[Rule, ...] = ()


def read_legacy_chains() -> Iterator[tuple[str, tuple[LegacyChain, ...]]]:
    """The chains of the table `filter`, by family, in the calling thread's namespace."""
    for family, command, names in TOOLS:
        try:
            tables = (PROC / names).read_text().split()
        except OSError:  # a kernel without it
            continue
        if "filter" in tables:
            status, output, _ = run_iptables(command, "filter", "-S")
            if not status:
                yield family, parse_chains(output)


def parse_chains(output: str) -> tuple[LegacyChain, ...]:
    """The chains in the output of `iptables-legacy -S`."""
    policies: dict[str, bool] = {}
    rules: dict[str, list[Rule]] = {}
    for line in output.splitlines():
        try:
            words = shlex.split(line)
        except ValueError:  # a comment with an unbalanced quote
            continue
        if words[:1] in (["-P"], ["-N"]):
            policies[words[1]] = words[2:3] == ["DROP"]
        elif words[:1] == ["-A"]:
            rules.setdefault(words[1], []).append(parse_words(words[2:]))
    return tuple(LegacyChain(name, drops, tuple(rules.get(name, ()))) for name, drops in policies.items())


def parse_words(words: Sequence[str]) -> Rule:
    """One rule, without `-A CHAIN`."""
    conditions: list[Condition] = []
    verdict, target, negated = "", "", False
    left = iter(words)
    for word in left:
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g"):
            name = next(left, "")
            verdict = VERDICTS.get(name, "goto" if word == "-g" else "jump")
            target = "" if name in VERDICTS else name
        elif word == "-m":
            if next(left, "") not in HARMLESS:
                conditions.append(Condition(UNKNOWN))
        elif word in ("--comment", "--reject-with"):
            next(left, "")
        elif word.startswith("-"):
            conditions.append(_condition(word, next(left, ""), negated=negated))
        negated = False
    return Rule(tuple(conditions), verdict, target)


def _condition(word: str, value: str, *, negated: bool) -> Condition:
    if word in ("-s", "-d"):
        return Condition(WITH_VALUE[word], (), negated)
    if word in ("-i", "-o"):
        return Condition(WITH_VALUE[word], (value.replace("+", "*"),), negated)
    if word in ("--ctstate", "--state"):
        return Condition("ct state", tuple(value.lower().split(",")), negated)
    if word == "--mark":
        mark, _, mask = value.partition("/")
        if not MARK.fullmatch(value):
            return Condition(UNKNOWN)
        return Condition("mark", (f"{int(mark, 0):#x}/{int(mask or '0xffffffff', 0):#x}",), negated)
    if word == "--dport":
        is_numbers = value.replace(":", "").isdigit()
        return Condition("dport", (value.replace(":", "-"),), negated) if is_numbers else Condition(UNKNOWN)
    return Condition(WITH_VALUE[word], (value,), negated) if word in WITH_VALUE else Condition(UNKNOWN)
