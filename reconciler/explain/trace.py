"""The rules that a real packet matched, beside those that it should: what a trace asks for, and how its events compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from reconciler.explain.ask import PathAnswer
from reconciler.explain.packet import Crossing, Hop, SwitchVisit
from reconciler.explain.rules import program_of
from reconciler.explain.world import Node
from reconciler.kinds.firewall.fast_path import parse_hook_name
from reconciler.kinds.firewall.program import parse_table_name
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.probes.model import PacketProbe
from reconciler.state.ref import HOST
from reconciler.state.trace import OPENFLOW, TracedFrame, TracedPacket, TracedTunnel, TraceEvent, TraceRequest

UNCERTAIN = ("asking",)
"""Chains whose rules depend on what packets before have left in sets."""
UNCERTAIN_WORDS = ("@openers",)
DECIDED = ("filter", "translate", "fast path", "ends")
"""Layers of hops that rules decide."""

RuleKey = tuple[str, str, str, int]
"""Family, subnet of the table, chain, and the number of the rule from 1."""


@dataclass(frozen=True, slots=True)
class TracedRule:
    """A rule on the way of the packet: whether the records lead to it, and whether the real packet matched it."""

    host: str
    family: str
    chain: str
    number: int
    text: str
    verdict: str
    is_expected: bool
    is_seen: bool
    table: str = ""
    """Of a rule that is not netctl's."""

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.is_expected == self.is_seen or bool(self.table)


def trace_requests(answers: Iterable[PathAnswer]) -> dict[str, TraceRequest]:
    """By host, what to follow of the packet, in all the forms that these answers give it."""
    answers = list(answers)
    packets = [packet for answer in answers for packet in answer.there.packets]
    ends = dict.fromkeys((packet.target, packet.port) for packet in packets)
    protocol = answers[0].question.target.protocol
    traced = tuple(
        TracedPacket(source=source, target=target, protocol=None if protocol == "icmp" else protocol, port=port)
        for source, (target, port) in product(dict.fromkeys(packet.source for packet in packets), ends)
        if (":" in source) == (":" in target)
    )
    requests = {}
    for node in answers[0].world.nodes.values():
        if node.is_host:
            taken = dict.fromkeys(link for answer in answers for host, link in answer.there.links if host == node.host)
            known = tuple(link for link in taken if link in node.hooks)
            visits = (visit for visit in answers[0].there.visits if visit.host == node.host)
            frames = tuple(TracedFrame(bridge=visit.bridge, flow=visit.flow) for visit in visits)
            requests[node.host] = TraceRequest(packets=traced, tunnels=tuple(_tunnels(node)), links=known, frames=frames)
    return requests


def _tunnels(node: Node) -> Iterator[TracedTunnel]:
    found = (one.record for one in node.interfaces.values() if isinstance(one.record, Tunnel))
    yield from dict.fromkeys(
        TracedTunnel(port=int(getattr(record, "port", 0)), header_bytes=record.encapsulation.header_bytes)
        for record in found
        if record.encapsulation.protocol == "udp"
    )


def trace_probe_of(answer: PathAnswer, start: Node) -> PacketProbe:
    """The packet to send."""
    question = answer.question
    return PacketProbe(
        host=start.host, netns=start.netns, source=question.start, target=question.target.name, section="",
        address=question.address, expected=answer.passes, why="", kind=question.target.protocol,
        port=question.port or question.target.port,
    )  # fmt: skip


def compare_trace(
    topology: str, crossings: Sequence[Crossing], events: Mapping[str, Sequence[TraceEvent]]
) -> tuple[TracedRule, ...]:
    """All rules that were expected or seen, host by host in the order of the packet's way."""
    hosts = dict.fromkeys((*(one.host for one in crossings), *events))
    found: list[TracedRule] = []
    for host in hosts:
        expected = {
            _key(rule): (rule, one.is_optional) for one in crossings if one.host == host and _is_certain(rule := _expected(one))
        }
        seen = list(_seen(topology, host, events.get(host, ())))
        found += _merge(list(expected.values()), [one for one in seen if _is_certain(one)])
    return tuple(found)


def compare_flows(visits: Sequence[SwitchVisit], events: Mapping[str, Sequence[TraceEvent]]) -> Iterator[TracedRule]:
    """The flows that a frame should match, and those that the switch names, by table and priority."""
    for host in dict.fromkeys(visit.host for visit in visits):
        mine = [(visit.bridge, rule) for visit in visits if visit.host == host for rule in visit.rules]
        found = [event for event in events.get(host, ()) if event.family == OPENFLOW]
        seen = {(event.table, event.chain, event.number): event.text for event in found}
        expected = {(bridge, str(table), priority): match for bridge, (table, priority, match) in mine}
        for key in dict.fromkeys((*expected, *seen)):
            bridge, table, priority = key
            text = expected.get(key) or seen.get(key) or "everything"
            chain = f"{bridge} table {table}"
            yield TracedRule(host, OPENFLOW, chain, priority, text, "", is_expected=key in expected, is_seen=key in seen)


def _is_certain(rule: TracedRule) -> bool:
    return rule.chain not in UNCERTAIN and not any(word in rule.text for word in UNCERTAIN_WORDS)


def _expected(crossing: Crossing) -> TracedRule:
    hit = crossing.hit
    rule = hit.rule
    return TracedRule(
        crossing.host, rule.family, rule.chain, rule.number + 1, rule.text, hit.verdict, is_expected=True, is_seen=False
    )


def _seen(topology: str, host: str, events: Sequence[TraceEvent]) -> Iterator[TracedRule]:
    """The rules that the first packet matched; what is repeated belongs to the next one."""
    known: set[RuleKey] = set()
    for event in events:
        if event.number == 0 or event.family == OPENFLOW or parse_hook_name(event.chain):
            continue
        owner, subnet = parse_table_name(event.table)
        key = (event.family, event.table, event.chain, event.number)
        if key in known:
            return
        known.add(key)
        text, table = event.text, event.table
        if owner == topology:
            rules = program_of(event.family, topology, subnet)[event.chain].rules
            text, table = (rules[event.number - 1].text if event.number <= len(rules) else "an unknown rule"), ""
        yield TracedRule(
            host, event.family, event.chain, event.number, text, event.verdict, is_expected=False, is_seen=True, table=table
        )


def _merge(expected: Sequence[tuple[TracedRule, bool]], seen: Sequence[TracedRule]) -> Iterator[TracedRule]:
    """The expected rules in order, each seen or not, and after them the others.

    The order of events is not that of rules: a rule that forwards at once is reported after those that the packet meets next.
    """
    real = {_key(one) for one in seen}
    for rule, is_optional in expected:
        if _key(rule) in real:
            yield replace(rule, is_seen=True)
        elif not is_optional:
            yield rule
    mine = {_key(rule) for rule, _ in expected}
    yield from (one for one in seen if _key(one) not in mine)


def _key(rule: TracedRule) -> tuple[str, str, str, int]:
    return rule.family, rule.table, rule.chain, rule.number


def hops_seen(
    hops: Sequence[Hop], crossings: Sequence[Crossing], rules: Sequence[TracedRule], events: Mapping[str, Sequence[TraceEvent]]
) -> tuple[str, ...]:
    """For each hop `seen`, `not seen`, or "" if nftables cannot show it."""
    matched = {(one.host, one.family, one.chain, one.number) for one in rules if one.is_seen}
    links = {(host, event.out_dev) for host, found in events.items() for event in found if event.out_dev}
    found, before = [], 0
    for hop in hops:
        mine, before = crossings[before : hop.rules], hop.rules
        keys = [(one.host, one.hit.rule.family, one.hit.rule.chain, one.hit.rule.number + 1) for one in mine if _shows(one)]
        keys = keys if hop.layer in DECIDED else []
        if hop.layer == "route" and hop.netns == HOST and hop.host in events and hop.dev:
            found.append("seen" if (hop.host, hop.dev) in links else "")
        elif keys:
            found.append("seen" if all(key in matched for key in keys) else "not seen")
        else:
            found.append("")
    return tuple(found)


def _shows(crossing: Crossing) -> bool:
    return not crossing.is_optional and _is_certain(_expected(crossing))
