"""The programs of nftables as the walk runs them: parsed from their own text, with no form left out."""

from __future__ import annotations

import pytest

from reconciler.explain.rules import Match, Statement, Verdict, parse_rule, program_of
from reconciler.explain.tables import Table, fits
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.program import SETS
from reconciler.kinds.firewall.set_elements import BlockElement
from reconciler.state.ref import HOST
from reconciler.state.subject import HOST_SUBJECT


@pytest.mark.parametrize("family", SETS)
def test_every_rule_of_netctl_is_understood(family: str) -> None:
    """No chain is empty, and each rule has parts; a form that is not known would raise."""
    program = program_of(family, "shop", "front" if family == "netdev" else "")
    assert program
    assert all(rule.parts for chain in program.values() for rule in chain.rules)
    assert all(chain.rules for chain in program.values())


@pytest.mark.parametrize("text", ["ip saddr 10.0.0.1 queue num 1", "quota over 5 mbytes drop", "meta nftrace set 1"])
def test_a_form_that_is_not_known_is_refused(text: str) -> None:
    """A rule that the walk would silently skip would make it lie."""
    with pytest.raises(ValueError, match=r"unknown|no value"):
        list(parse_rule(text))


def test_a_rule_has_its_parts_in_order() -> None:
    """Conditions, a map, and a verdict."""
    first, second, last = parse_rule("iifname . oifname != @same_bridge ct status & 0x18 == 0x8 goto ours")
    assert first == Match(("iifname", "oifname"), "!=", "@same_bridge")
    assert second == Match(("ct status",), "==", "0x8", 0x18)
    assert last == Verdict("goto", "ours")
    (_, translate) = parse_rule("meta l4proto tcp dnat ip6 to meta l4proto . th dport map @published6")
    assert translate == Statement("dnat", ((("meta l4proto", "th dport"), "published6"),), family="ip6")


def test_base_chains_run_in_the_order_of_their_priorities() -> None:
    """The guard sees a packet before it is translated."""
    assert [chain.name for chain in Table("inet", "shop").chains("prerouting")] == ["door", "guard", "arriving"]


def test_a_set_of_ranges_is_searched() -> None:
    """An address in a prefix matches its element, another does not."""
    table = Table("inet", "shop")
    table.add(FirewallElement.of(HOST, "inet", "shop", BlockElement("guarded", "10.44.0.0/24"), HOST_SUBJECT))
    dropped = table.run("guard", {"ip saddr": "192.0.2.1", "ip daddr": "10.44.0.9", "iifname": "eth0"})
    passed = table.run("guard", {"ip saddr": "192.0.2.1", "ip daddr": "10.45.0.9", "iifname": "eth0"})
    assert (dropped.verdict, passed.verdict) == ("drop", "accept")
    assert [hit.rule.text for hit in dropped.hits] == ["ip daddr @guarded4 drop"]


@pytest.mark.parametrize(
    ("value", "pattern", "is_in"),
    [
        ("5432", "5432", True),
        ("8005", "8000-8010", True),
        ("8011", "8000-8010", False),
        ("10.44.0.7", "10.44.0.0/29", True),
        ("10.44.0.8", "10.44.0.0-10.44.0.7", False),
        ("fd00::5", "fd00::/64", True),
        ("10.44.0.7", "fd00::/64", False),
        ("01:80:c2:00:00:03", "01:80:c2:00:00:00-01:80:c2:00:00:0f", True),
        ("b-shop-front", "b-shop-back", False),
    ],
)
def test_values_and_ranges(value: str, pattern: str, is_in: bool) -> None:
    """Ports, addresses of both families, hardware addresses, and names with a dash."""
    assert fits(value, pattern) is is_in
