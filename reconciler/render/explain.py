"""The path of a packet for users: a line for each hop, with the line of the topology file that asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.explain.ask import PathAnswer, PathQuestion, start_of
from reconciler.explain.flows import SIMULATED
from reconciler.explain.packet import Hop, Trail
from reconciler.explain.remedy import find_remedy
from reconciler.explain.source import line_of, path_of
from reconciler.explain.trace import compare_flows, compare_trace, hops_seen
from reconciler.probes.model import Result
from reconciler.render.colour import PLAIN, Palette
from reconciler.state.listed import listed
from reconciler.state.ref import Ref
from reconciler.state.trace import TraceEvent
from reconciler.state.visible import visible_line
from reconciler.topology.types import Topology

FORMAT_VERSION = 1
UNSEEN_LAYERS = {
    "flow": SIMULATED,
    "stacked": "frames of a link on top of the uplink pass by the host's rules, so nftables sees nothing of them",
}
"""Layers that nftables does not see, and what to say of them."""
WIDTH_MAX = 96
"""The column up to which the lines of the file are aligned."""
HEADLINES = {
    "refused": "is refused", "dropped": "is dropped", "lost": "does not arrive", "unknown": "cannot be determined",
}  # fmt: skip
SAID = {
    "answered": "it was answered", "refused": "it was refused", "silent": "nothing answered",
    "unsent": "the sender's own kernel refused it",
}  # fmt: skip
Reasons = Mapping[tuple[str, Ref], str]
"""By host and record: how it differs from the file."""


@dataclass(frozen=True, slots=True)
class HopRow:
    """One step of the way: where, what decides it, the line of the file that asked for it (0: none), and its drift."""

    place: str
    host: str
    layer: str
    words: str
    line: int = 0
    ref: str = ""
    drift: str = ""
    traced: str = ""
    """With a trace: `seen`, `not seen`, or "" if nftables cannot show it."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A rule that the packet should match, or did."""

    host: str
    family: str
    chain: str
    number: int
    rule: str
    verdict: str
    expected: bool
    seen: bool
    table: str = ""
    """Of a rule that is not netctl's."""


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What a real packet met. `outcome` is that of verify's probes; `why_not` says why none was sent."""

    agrees: bool
    outcome: str = ""
    why_not: str = ""
    rules: tuple[TraceRow, ...] = listed()
    notes: tuple[str, ...] = listed()


@dataclass(frozen=True, slots=True)
class TraceView:
    """The events of a trace by host, and the result of the probe; or why there is none."""

    events: Mapping[str, Sequence[TraceEvent]]
    result: Result | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule of nftables that the packet matches, and its number in the chain, from 1."""

    host: str
    family: str
    chain: str
    number: int
    rule: str
    verdict: str


@dataclass(frozen=True, slots=True)
class ExplainedPath:
    """The way of one packet. `end` says how it ends: arrives, leaves, refused, dropped, lost or unknown."""

    packet: str
    family: int
    passes: bool
    end: str
    reason: str
    remedy: str = ""
    remedy_line: int = 0
    published_by: str = ""
    hops: tuple[HopRow, ...] = listed()
    answer: tuple[HopRow, ...] = listed()
    rules: tuple[RuleRow, ...] = listed()
    file_says: str = ""
    """If the live path is another one than the file asks for: how that ends."""
    trace: TraceReport | None = None


@dataclass(frozen=True, slots=True)
class ExplainDocument:
    """The document of `explain --json`. `is_live` says whether hosts were read."""

    format_version: int
    topology: str
    file: str
    source: str
    target: str
    is_live: bool
    passes: bool
    paths: tuple[ExplainedPath, ...] = listed()


def compile_explanation(
    topology: Topology,
    ends: tuple[str, str],
    answers: Sequence[PathAnswer],
    expected: Sequence[PathAnswer] = (),
    reasons: Reasons | None = None,
    traces: Sequence[TraceView] = (),
) -> ExplainDocument:
    """The document of the answers; `expected` are those of the file if the hosts were read."""
    paths = [_path(topology, answer, reasons or {}) for answer in answers]
    for number, (path, wanted) in enumerate(zip(paths, expected, strict=False)):
        paths[number] = _beside(path, _path(topology, wanted, {}))
    for number, (answer, view) in enumerate(zip(answers, traces, strict=False)):
        paths[number] = _with_trace(topology.name, paths[number], answer, view)
    passes = all(path.passes for path in paths)
    return ExplainDocument(FORMAT_VERSION, topology.name, topology.path, *ends, bool(expected), passes, tuple(paths))


def _beside(live: ExplainedPath, asked: ExplainedPath) -> ExplainedPath:
    """The live path, with the end of the one that the file asks for if that differs."""
    if _shape(live) == _shape(asked):
        return live
    if asked.passes:  # no change of the file is needed
        return replace(live, file_says="it passes", remedy="", remedy_line=0)
    return replace(live, file_says=f"it {HEADLINES.get(asked.end, 'ends')}")


def _shape(path: ExplainedPath) -> tuple[object, ...]:
    return path.end, [(hop.place, hop.layer, hop.words) for hop in (*path.hops, *path.answer)]


def _path(topology: Topology, answer: PathAnswer, reasons: Reasons) -> ExplainedPath:
    trail, question = answer.there, answer.question
    ended = trail if answer.back is None or answer.passes else answer.back
    remedy = find_remedy(answer)
    crossings = (*trail.crossings, *(answer.back.crossings if answer.back else ()))
    rules = (
        RuleRow(one.host, one.hit.rule.family, one.hit.rule.chain, one.hit.rule.number + 1, one.hit.rule.text, one.hit.verdict)
        for one in crossings
    )
    return ExplainedPath(
        packet=packet_words(question, trail),
        family=6 if ":" in question.address else 4,
        passes=answer.passes,
        end=ended.end,
        reason=ended.reason,
        remedy=remedy.words if remedy else "",
        remedy_line=line_of(topology, remedy.path) if remedy else 0,
        published_by=question.published_by,
        hops=tuple(_hop(topology, hop, reasons) for hop in trail.hops),
        answer=tuple(_hop(topology, hop, reasons) for hop in answer.back.hops) if answer.back else (),
        rules=tuple(rules),
    )


def why_untraced(answer: PathAnswer) -> str:
    """Why netctl cannot send such a packet; "" if it can."""
    node = start_of(answer.world, answer.question.start)
    if node.is_beyond:
        return "netctl has no machine outside of real hosts that could send it"
    if not node.interfaces:
        return f"{node.name} is not there"
    if answer.question.source and not node.holds(answer.question.source):
        return f"no node of the file has the address {answer.question.source}"
    return ""


def _with_trace(topology: str, path: ExplainedPath, answer: PathAnswer, view: TraceView) -> ExplainedPath:
    """The path with what a real packet met."""
    if view.why_not:
        return replace(path, trace=TraceReport(agrees=True, why_not=view.why_not))
    trail = answer.there
    rules = (*compare_trace(topology, trail.crossings, view.events), *compare_flows(trail.visits, view.events))
    marks = hops_seen(answer.there.hops, answer.there.crossings, rules, view.events)
    rows = tuple(
        TraceRow(one.host, one.family, one.chain, one.number, one.text, one.verdict, one.is_expected, one.is_seen, one.table)
        for one in rules
    )
    notes = tuple(dict.fromkeys(UNSEEN_LAYERS[hop.layer] for hop in answer.there.hops if hop.layer in UNSEEN_LAYERS))
    outcome = view.result.finding.outcome if view.result else ""
    agrees = all(one.agrees for one in rules) and _is_outcome_of(answer, outcome)
    hops = tuple(replace(hop, traced=mark) for hop, mark in zip(path.hops, marks, strict=True))
    return replace(path, hops=hops, trace=TraceReport(agrees, outcome, "", rows, notes))


def _is_outcome_of(answer: PathAnswer, outcome: str) -> bool:
    """Whether the sender could see this. Without a listener a target refuses; one that does not know the packet is silent."""
    if not answer.passes:
        return outcome != "answered"
    return outcome in ("answered", "refused") or (outcome == "silent" and answer.question.target.protocol not in ("icmp", "tcp"))


def packet_words(question: PathQuestion, trail: Trail) -> str:
    """The packet as it is sent: `tcp 10.44.0.10 > 10.45.0.20:5432`."""
    port = question.port or question.target.port
    address = f"[{question.address}]" if port and ":" in question.address else question.address
    return f"{question.target.protocol} {trail.source or '?'} > {address}{f':{port}' if port else ''}"


def _hop(topology: Topology, hop: Hop, reasons: Reasons) -> HopRow:
    record = hop.record
    if record is None:
        return HopRow(hop.place, hop.host, hop.layer, hop.words)
    line = line_of(topology, path_of(topology, hop.host, record))
    return HopRow(hop.place, hop.host, hop.layer, hop.words, line, str(record.ref), reasons.get((hop.host, record.ref), ""))


# --- text -----------------------------------------------------------------------------------------------------------------


def render_explanation(document: ExplainDocument, palette: Palette = PLAIN, *, verbose: bool = False) -> str:
    """The text for users, without a newline at the end."""
    blocks = []
    shown: list[ExplainedPath] = []
    for path in document.paths:
        twin = next((one for one in shown if not verbose and _is_twin(one, path)), None)
        if twin:
            blocks.append(f"  {palette.bold('the same by')} {visible_line(path.packet)}")
            continue
        shown.append(path)
        blocks.append("\n".join(_render_path(document, path, palette, verbose=verbose)))
    return "\n".join(blocks)


def _is_twin(one: ExplainedPath, other: ExplainedPath) -> bool:
    """Whether two paths, of two families, lead over the same nodes to the same end."""
    return (one.end, [(hop.place, hop.layer) for hop in one.hops]) == (other.end, [(hop.place, hop.layer) for hop in other.hops])


def _render_path(document: ExplainDocument, path: ExplainedPath, palette: Palette, *, verbose: bool) -> Iterator[str]:
    headline = palette.green("passes") if path.passes else palette.red(HEADLINES.get(path.end, "does not pass"))
    yield f"{palette.bold(f'{document.source} -> {document.target}')}  {headline}  {palette.dim(visible_line(path.packet))}"
    if path.published_by:
        yield f"  the port is published by {path.published_by}"
    yield from _render_hops(document, path.hops, palette)
    answered = bool(path.answer) and path.answer[-1].layer == "arrives"
    if path.answer and (verbose or not answered):
        yield "  the answer:" if answered else palette.red("  the answer does not return:")
        yield from _render_hops(document, path.answer, palette)
    elif answered:
        yield f"  the answer returns to {path.answer[-1].place}"
    if path.remedy:
        where = f"  {document.file}:{path.remedy_line}" if path.remedy_line else ""
        yield f"  {palette.bold('to let it pass:')} {visible_line(path.remedy)}{palette.dim(where)}"
    if path.file_says:
        yield f"  {palette.yellow('the live path is another one than the file asks for:')} by the file, {path.file_says}"
        drifts = dict.fromkeys(f"{hop.words}: {hop.drift}" for hop in (*path.hops, *path.answer) if hop.drift)
        yield from (f"    {visible_line(drift)}" for drift in drifts)
        yield f"  {palette.bold('help:')} `netctl status` lists all that differs, `netctl apply` repairs it"
    if path.trace:
        yield from _render_trace(path, path.trace, palette, verbose=verbose)
    elif verbose:
        yield from _render_rules(path.rules, palette)


def _render_hops(document: ExplainDocument, hops: Sequence[HopRow], palette: Palette) -> Iterator[str]:
    place = max(len(hop.place) for hop in hops)
    layer = max(len(hop.layer) for hop in hops)
    heads = [
        f"  {number:>3}  {hop.place:{place}}  {hop.layer:{layer}}  {visible_line(hop.words)}"
        for number, hop in enumerate(hops, 1)
    ]
    lined = [len(head) for hop, head in zip(hops, heads, strict=True) if hop.line or hop.traced]
    column = min(WIDTH_MAX, max(lined, default=0))
    for hop, head in zip(hops, heads, strict=True):
        where = f"{document.file}:{hop.line}" if hop.line else ""
        drift = palette.yellow("  (differs from the file)") if hop.drift else ""
        drift += {"seen": palette.green("  seen"), "not seen": palette.red("  not seen")}.get(hop.traced, "")
        painted = palette.red(head) if hop.layer == "ends" else head
        yield f"{painted}{' ' * (column - len(head))}  {palette.dim(where)}{drift}".rstrip() if where or drift else painted


def _render_rules(rules: Sequence[RuleRow], palette: Palette) -> Iterator[str]:
    if rules:
        yield "  rules of nftables on its way (table, chain, number):"
    for rule in rules:
        verdict = f" -> {rule.verdict}" if rule.verdict and not rule.rule.endswith(rule.verdict) else ""
        yield f"    {rule.host}  {rule.family} {rule.chain} {rule.number}  {palette.dim(visible_line(rule.rule))}{verdict}"


def _render_trace(path: ExplainedPath, trace: TraceReport, palette: Palette, *, verbose: bool) -> Iterator[str]:
    if trace.why_not:
        yield f"  {palette.bold('trace:')} not sent: {trace.why_not}"
        return
    wrong = [row for row in trace.rules if row.expected != row.seen]
    count = sum(row.seen for row in trace.rules)
    hosts = len({row.host for row in trace.rules if row.seen})
    verdict = palette.green("as expected") if trace.agrees else palette.red("not as expected")
    said = SAID.get(trace.outcome, trace.outcome)
    if path.end == "unknown":
        verdict = "and netctl does not know what it should have matched"
    if trace.outcome == "refused" and path.passes:
        said = "the target refused it: nothing listens there"
    where = f"{hosts} host{'s' if hosts != 1 else ''}"
    yield f"  {palette.bold('trace:')} one packet was sent, and {said}; it matched {count} rules on {where}, {verdict}"
    for row in trace.rules if verbose else wrong:
        mark = "    " if row.expected and row.seen else "only seen     " if row.seen else "only expected "
        where = f"{row.host}  {row.family} {row.table + ' ' if row.table else ''}{row.chain} {row.number}"
        yield f"    {mark}{where}  {palette.dim(visible_line(row.rule))} {row.verdict}".rstrip()
    yield from (f"  note: {note}" for note in trace.notes)
