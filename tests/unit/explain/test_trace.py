"""A trace beside the expected rules: what is asked of a host, and what counts as a difference."""

from __future__ import annotations

import pytest

from reconciler.explain.trace import compare_flows, compare_trace, hops_seen, trace_probe_of, trace_requests
from reconciler.kernel.netfilter.trace import render_tables
from reconciler.kinds.firewall.program import parse_table_name
from reconciler.probes.model import Finding, Result
from reconciler.render.explain import TraceView, compile_explanation, render_explanation
from reconciler.state.trace import OPENFLOW, TracedPacket, TracedTunnel, TraceEvent, TraceRequest
from tests.harness.explained import SHOP, Known, known


def events_of(known: Known, start: str, target: str) -> dict[str, list[TraceEvent]]:
    """The events of a host that does what its records say."""
    found: dict[str, list[TraceEvent]] = {}
    for one in known.ask(start, target).there.crossings:
        if not one.is_optional:
            rule, subnet = one.hit.rule, one.hit.subnet
            table = f"netctl-shop.{subnet}" if subnet else "netctl-shop"
            event = TraceEvent(family=rule.family, table=table, chain=rule.chain, number=rule.number + 1, verdict=one.hit.verdict)
            found.setdefault(one.host, []).append(event)
    return found


def test_a_host_that_does_as_its_records_say_agrees() -> None:
    """Each rule is expected and seen, in any order, for rules that forward at once are reported late."""
    shop = known(SHOP)
    events = events_of(shop, "web", "api")
    assert set(events) == {"alpha", "beta"}
    crossings = shop.ask("web", "api").there.crossings
    for found in (events, {host: list(reversed(seen)) for host, seen in events.items()}):
        rules = compare_trace("shop", crossings, found)
        assert rules
        assert all(rule.is_expected and rule.is_seen for rule in rules)


def test_what_the_next_packet_matches_does_not_count() -> None:
    """A connection sends more packets; the first of them is compared."""
    shop = known(SHOP)
    events = events_of(shop, "web", "db:5432")
    late = TraceEvent(family="inet", table="netctl-shop", chain="ours", number=5, verdict="goto reply")
    twice = {"alpha": [*events["alpha"], *events["alpha"][:1], late]}
    assert all(rule.agrees for rule in compare_trace("shop", shop.ask("web", "db:5432").there.crossings, twice))


def test_rules_that_only_one_side_has_are_shown() -> None:
    """A rule that was not met, one that should not have been, and one of another program's table, which is no difference."""
    shop = known(SHOP)
    answer = shop.ask("web", "db:5432")
    events = events_of(shop, "web", "db:5432")["alpha"]
    dropped = [one for one in events if one.chain != "marked"]
    other = TraceEvent(family="inet", table="filter", chain="FORWARD", number=3, verdict="accept", text="counter accept")
    more = TraceEvent(family="inet", table="netctl-shop", chain="refuse", number=4, verdict="drop")
    rules = compare_trace("shop", answer.there.crossings, {"alpha": [*dropped, other, more]})
    wrong = [(rule.chain, rule.is_expected, rule.is_seen) for rule in rules if not rule.agrees]
    assert wrong == [("marked", True, False), ("refuse", False, True)]
    assert [(rule.table, rule.text) for rule in rules if rule.table] == [("filter", "counter accept")]


def test_hops_that_rules_decide_are_marked() -> None:
    """The policy is seen; a cable cannot be."""
    shop = known(SHOP)
    answer = shop.ask("web", "db:5432")
    events = events_of(shop, "web", "db:5432")
    rules = compare_trace("shop", answer.there.crossings, events)
    marks = dict(
        zip(
            [hop.layer for hop in answer.there.hops],
            hops_seen(answer.there.hops, answer.there.crossings, rules, events),
            strict=True,
        )
    )
    assert marks["filter"] == "seen"
    assert marks["link"] == ""
    assert "not seen" in hops_seen(
        answer.there.hops, answer.there.crossings, compare_trace("shop", answer.there.crossings, {}), {}
    )


def test_the_text_says_whether_the_real_path_is_the_expected_one() -> None:
    """One line if it is, and each rule that differs if not."""
    shop = known(SHOP)
    answer = shop.ask("web", "db:5432")
    result = Result(trace_probe_of(answer, shop.world().container("web")), Finding("answered"))
    good = TraceView(events_of(shop, "web", "db:5432"), result)
    text = render_explanation(compile_explanation(shop.desired.topology, ("web", "db:5432"), [answer], [answer], {}, [good]))
    assert "one packet was sent, and it was answered; it matched 10 rules on 1 host, as expected" in text
    bad = render_explanation(
        compile_explanation(shop.desired.topology, ("web", "db:5432"), [answer], [answer], {}, [TraceView({}, result)])
    )
    assert "not as expected" in bad
    assert "only expected alpha  inet ours 11" in bad


def test_a_trace_asks_for_the_packet_in_all_its_forms() -> None:
    """Before and after a published port, and inside of a tunnel; at the links by which it comes in."""
    shop = known(SHOP)
    (request,) = [each for host, each in trace_requests((shop.ask("outside", "web:8080"),)).items() if host == "alpha"]
    ends = {(packet.target, packet.port) for packet in request.packets}
    assert ends == {("192.0.2.11", 8080), ("10.44.0.10", 80)}
    assert request.tunnels == (TracedTunnel(port=4789, header_bytes=16),)
    overlay = trace_requests((shop.ask("web", "api"),))
    assert len(overlay["alpha"].links) == 1
    assert overlay["beta"].links == ("x-shop-front",)


REQUEST = TraceRequest(
    packets=(TracedPacket(source="10.44.0.10", target="10.44.0.20", protocol="udp", port=53),),
    tunnels=(TracedTunnel(port=4789, header_bytes=16),),
    links=("v-web",),
)


def test_the_tables_of_a_trace_belong_to_their_process() -> None:
    """`flags owner` in each, so the kernel deletes them with the socket; and no reading takes them for a topology's."""
    text = render_tables("netctl_trace_shop", REQUEST)
    assert text.count("flags owner") == text.count("table ") == 3
    assert parse_table_name("netctl_trace_shop") == ("", "")
    assert 'type filter hook ingress device "v-web" priority -500' in text
    assert "ip saddr 10.44.0.10 ip daddr 10.44.0.20 meta l4proto udp th dport 53 meta nftrace set 1" in text


def test_a_tunnel_s_packet_is_known_by_the_addresses_inside() -> None:
    """Behind UDP, the header of the tunnel, and Ethernet: 8 + 8 + 14 bytes, and 12 of the IP header."""
    text = render_tables("netctl_trace_shop", REQUEST)
    assert "udp dport 4789 @th,336,32 0xa2c000a @th,368,32 0xa2c0014 meta nftrace set 1" in text
    six = TraceRequest(packets=(TracedPacket(source="fd00::1", target="fd00::2"),), tunnels=REQUEST.tunnels)
    assert "@th,304,128" in render_tables("netctl_trace_shop", six)


@pytest.mark.parametrize("value", ["10.44.0.10; drop", "eth0", ""])
def test_no_text_but_an_address_reaches_nft(value: str) -> None:
    """An address is parsed before it is written."""
    packets = (TracedPacket(source=value, target="10.44.0.20"),)
    with pytest.raises(ValueError, match="does not appear to be"):
        render_tables("netctl_trace_shop", TraceRequest(packets=packets))


def test_flows_that_a_switch_names_are_compared() -> None:
    """By table and priority; one more or one less is a difference."""
    switched = known(
        SHOP.replace("front: {cidr: 10.44.0.0/24, hosts: [alpha, beta]}", "front: {cidr: 10.44.0.0/24, bridge: openvswitch}")
    )
    visits = switched.ask("web", "db:5432").there.visits
    assert [visit.bridge for visit in visits] == ["b-shop-front"]
    assert visits[0].flow.startswith('tcp,in_port="v-shop-')
    events = [
        TraceEvent(family=OPENFLOW, table=visit.bridge, chain=str(table), number=priority, verdict="", text=match)
        for visit in visits
        for table, priority, match in visit.rules
    ]
    assert all(rule.agrees for rule in compare_flows(visits, {"alpha": events}))
    assert [rule.is_seen for rule in compare_flows(visits, {"alpha": events[1:]}) if not rule.agrees] == [False]
