"""The rules of others are read as far as they are understood; whatever they hold, reading ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.kernel.netfilter.foreign_drops import Packet, holds, render
from reconciler.kernel.netfilter.foreign_rules import READERS, UNKNOWN, Condition, parse_rule
from reconciler.kernel.netfilter.iptables_legacy import parse_chains
from reconciler.kernel.netlink.rtnetlink import attribute

LEGACY = """
-P FORWARD DROP
-N MINE
-A FORWARD ! -i docker0 -m conntrack --ctstate INVALID,NEW -j MINE
-A FORWARD -p tcp -m tcp --dport 80:90 -m comment --comment "it's -j ACCEPT" -j REJECT --reject-with icmp-port-unreachable
-A MINE -m mark --mark 0x1000/0x1000 -j ACCEPT
-A MINE -m recent --name x -j DROP
-A MINE -m mark --mark zero -j DROP
"""
DATA = st.dictionaries(st.integers(0, 8), st.binary(max_size=40), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(sorted(READERS)), DATA), max_size=6))
def test_no_rule_stops_the_reading(expressions: list[tuple[bytes, dict[int, bytes]]]) -> None:
    """Expressions of any content give a rule, each condition of which can be asked and written."""
    body = b"".join(
        attribute(1, attribute(1, name + b"\0") + attribute(2, b"".join(attribute(key, value) for key, value in data.items())))
        for name, data in expressions
    )
    rule = parse_rule(body, {1: "lo"}, lambda _: (b"\1\2",))
    for condition in rule.conditions:
        assert holds(condition, Packet("icmp", frozenset(("b-shop",)), marked=True)) in (True, False, None)
    assert render(rule.conditions).endswith("drop")


def test_legacy_rules_are_parsed() -> None:
    """What `iptables-legacy -S` prints: policies, chains, negations, ports, states, marks, and words that are not known."""
    forward, mine = parse_chains(LEGACY)
    assert (forward.name, forward.drops, mine.drops) == ("FORWARD", True, False)
    assert forward.rules[0].conditions == (
        Condition("iifname", ("docker0",), negated=True),
        Condition("ct state", ("invalid", "new")),
    )
    assert (forward.rules[0].verdict, forward.rules[0].target) == ("jump", "MINE")
    assert forward.rules[1].conditions == (Condition("protocol", ("tcp",)), Condition("dport", ("80-90",)))
    assert [rule.verdict for rule in mine.rules] == ["accept", "drop", "drop"]
    assert mine.rules[0].conditions == (Condition("mark", ("0x1000/0x1000",)),)
    assert Condition(UNKNOWN) in mine.rules[1].conditions
    assert Condition(UNKNOWN) in mine.rules[2].conditions
