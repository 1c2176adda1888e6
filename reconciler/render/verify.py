"""The results of verification for users: a matrix for each subnet, then all other results in lines.

Rows are the sources of probes, columns the targets. `ok` is an answer, `-` a correctly missing one, `FAIL` a failure,
`?` a probe that could not be sent. A cell represents all probes between the two, of both families.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.probes.frames import KINDS as FRAMES
from reconciler.probes.model import ALLOWED, FORBIDDEN, IN_SUBNETS, NAMES, PUBLISHED, ROUTES, TO_OUTSIDE, WITH_HOST, Result
from reconciler.render.colour import PLAIN, Palette
from reconciler.render.suspicions import Suspicion, render_suspicions
from reconciler.state.listed import listed
from reconciler.state.subject import Subject
from reconciler.state.visible import visible_line

FORMAT_VERSION = 1
MATRIX_MAX = 12
"""A wider matrix does not fit a terminal: rows are then summed up."""
SHOWN = 3
"""The most failures with the same likely cause that are named."""
TITLES = {
    TO_OUTSIDE: "with the outside",
    PUBLISHED: "published ports",
    ALLOWED: "between subnets, by policy",
    ROUTES: "static routes",
    NAMES: "names",
    FORBIDDEN: "must not be possible",
}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result in the JSON document."""

    section: str
    subnet: str
    source: str
    target: str
    kind: str
    address: str
    port: int
    size: int
    expected: bool
    outcome: str
    passed: bool
    why: str
    detail: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class VerifyDocument:
    """The document of `verify --json`."""

    format_version: int
    topology: str
    passed: bool
    probes: tuple[ResultRow, ...]
    notes: tuple[str, ...] = listed()
    """What was not tested, and why."""
    causes: tuple[Suspicion, ...] = listed()
    """If a probe failed: what differs from the file, and foreign resources that conflict."""


def compile_verification(
    topology: str, results: Sequence[Result], notes: Sequence[str], causes: Sequence[Suspicion] = ()
) -> VerifyDocument:
    """The document of all results."""
    rows = tuple(_row(result) for result in results)
    return VerifyDocument(FORMAT_VERSION, topology, all(row.passed for row in rows), rows, tuple(notes), tuple(causes))


def _row(result: Result) -> ResultRow:
    probe, finding = result.probe, result.finding
    asked = (probe.section, probe.subnet, probe.source, probe.target, probe.kind, probe.address, probe.port, probe.size)
    return ResultRow(*asked, probe.expected, finding.outcome, result.passed, probe.why, finding.detail, result.fault)


def render_verification(document: VerifyDocument, palette: Palette = PLAIN, *, elapsed_s: float = 0.0, width: int = 0) -> str:
    """The results for users, without a newline at the end. A matrix wider than `width` is summed up, unless that is 0."""
    lines: list[str] = []
    near = [row for row in document.probes if row.section in (IN_SUBNETS, WITH_HOST)]
    for subnet in dict.fromkeys(row.subnet for row in near):
        lines += [
            palette.bold(str(Subject.subnet(subnet))),
            *_matrix([row for row in near if row.subnet == subnet], palette, width),
            "",
        ]
    for section, title in TITLES.items():
        rows = [row for row in document.probes if row.section == section]
        if rows:
            lines += [palette.bold(title), *_table(rows, palette), ""]
    lines += [f"note: {visible_line(note)}" for note in document.notes]
    lines += render_suspicions(document.causes, palette)
    lines += _failures(document.probes, palette)
    lines.append(_summary(document, palette, elapsed_s))
    return "\n".join(lines)


def _symbol(rows: Sequence[ResultRow]) -> str:
    if not rows:
        return "."
    if any(not row.passed for row in rows):
        return "FAIL"
    if all(row.outcome == "skipped" for row in rows):
        return "?"
    return "ok" if any(row.expected for row in rows) else "-"


def _paint(text: str, symbol: str, palette: Palette) -> str:
    return {"FAIL": palette.red, "ok": palette.green, "-": palette.green}.get(symbol, palette.dim)(text)


def _matrix(rows: Sequence[ResultRow], palette: Palette, width: int) -> Iterator[str]:
    sources = list(dict.fromkeys(row.source for row in rows))
    known = {row.target for row in rows}
    targets = [name for name in sources if name in known] + sorted(known.difference(sources))
    left = max(len(source) for source in sources)
    columns = 2 + left + sum(2 + max(4, len(target)) for target in targets)
    if max(len(sources), len(targets)) > MATRIX_MAX or 0 < width < columns:
        yield from _sums(rows, palette)
        return
    yield f"  {'':{left}}  " + "  ".join(f"{target:>4}" for target in targets)
    for source in sources:
        cells = []
        for target in targets:
            symbol = _symbol([row for row in rows if (row.source, row.target) == (source, target)])
            cells.append(_paint(f"{symbol:>{max(4, len(target))}}", symbol, palette))
        yield f"  {source:{left}}  " + "  ".join(cells)


def _sums(rows: Sequence[ResultRow], palette: Palette) -> Iterator[str]:
    """A big subnet in one line, and a line for each member with a failure."""
    good = sum(row.passed for row in rows)
    symbol = "ok" if good == len(rows) else "FAIL"
    members = len({row.source for row in rows})
    yield f"  {_paint(symbol, symbol, palette)}  {members:,} members, {good:,} of {len(rows):,} probes passed"


def _table(rows: Sequence[ResultRow], palette: Palette) -> Iterator[str]:
    """A line for each target and test, with all sources; failed ones have a line of their own."""
    groups: dict[tuple[str, str, bool, bool], list[ResultRow]] = {}
    for row in rows:
        what = f"{row.address} {row.kind} {row.port}" if row.port else row.kind
        groups.setdefault((row.target, what, row.expected, row.passed), []).append(row)
    left = max(len(f"{target} ({what})") for target, what, *_ in groups)
    for (target, what, expected, _), group in groups.items():
        symbol = _symbol(group)
        names = list(dict.fromkeys(row.source for row in group))
        shown = ", ".join(names[:MATRIX_MAX]) + (f" and {len(names) - MATRIX_MAX:,} more" if len(names) > MATRIX_MAX else "")
        word = "from" if expected else "not from"
        yield f"  {_paint(f'{symbol:4}', symbol, palette)}  {f'{target} ({what})':{left}}  {word} {shown}"


def _failures(rows: Sequence[ResultRow], palette: Palette) -> Iterator[str]:
    by_fault: dict[str, list[ResultRow]] = {}
    for row in rows:
        if not row.passed:
            by_fault.setdefault(row.fault, []).append(row)
    for fault, alike in by_fault.items():
        for row in alike[:SHOWN]:
            yield _failure(row, palette)
        if len(alike) > SHOWN:
            yield f"     and {len(alike) - SHOWN:,} more like these (--json has all)"
        if fault:
            yield f"     likely: {visible_line(fault)}"


def _failure(row: ResultRow, palette: Palette) -> str:
    ping = f"ping of {row.size} bytes" if row.size else "ping" if row.kind == "icmp" else row.kind
    what = f"{row.kind} {row.port}" if row.port else ping
    answered = "arrived" if row.kind in FRAMES else "was answered"
    met = {"answered": answered, "refused": "was refused", "silent": "got no answer", "unsent": "could not be sent"}
    said = met.get(row.outcome, row.outcome) + (f" ({visible_line(row.detail)})" if row.detail else "")
    return f"{palette.red('FAIL')} {row.source} -> {row.target} ({row.address}), {what}: {said}, though {row.why}"


def _summary(document: VerifyDocument, palette: Palette, elapsed_s: float) -> str:
    skipped = sum(row.outcome == "skipped" for row in document.probes)
    failed = sum(not row.passed for row in document.probes)
    asked = len(document.probes) - skipped
    took = f" in {elapsed_s:.1f} s" if elapsed_s else ""
    left = f", {skipped:,} not asked" if skipped else ""
    if failed:
        return palette.red(f"{failed:,} of {asked:,} probes failed{left}{took}.")
    return palette.green(f"All {asked:,} probes are as the file says{left}{took}.")
