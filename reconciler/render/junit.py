"""The results of verification as JUnit's XML, which CI systems show test by test: a suite for each section. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from xml.sax.saxutils import quoteattr

from reconciler.render.verify import ResultRow, VerifyDocument
from reconciler.state.visible import visible_line


def render_junit(document: VerifyDocument, elapsed_s: float) -> str:
    """The file. A probe that was not sent is a skipped test."""
    rows = sorted(document.probes, key=attrgetter("section"))
    failed, skipped = _count(rows)
    head = f'name={_quote(document.topology)} tests="{len(rows)}" failures="{failed}" skipped="{skipped}" time="{elapsed_s:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {head}>"]
    for section, group in groupby(rows, key=attrgetter("section")):
        suite = list(group)
        failed, skipped = _count(suite)
        lines.append(
            f'  <testsuite name={_quote(section)} tests="{len(suite)}" failures="{failed}" skipped="{skipped}" errors="0">'
        )
        lines += [f"    {_case(document.topology, row)}" for row in suite]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _count(rows: Sequence[ResultRow]) -> tuple[int, int]:
    return sum(not row.passed for row in rows), sum(row.outcome == "skipped" for row in rows)


def _case(topology: str, row: ResultRow) -> str:
    port = f" {row.port}" if row.port else ""
    size = f" of {row.size} bytes" if row.size else ""
    verdict = "passes" if row.expected else "does not pass"
    name = f"{row.source} to {row.target} ({row.address} {row.kind}{port}{size}) {verdict}"
    start = f"<testcase classname={_quote(f'{topology}.{row.section}')} name={_quote(name)}"
    if row.outcome == "skipped":
        return f"{start}><skipped message={_quote(row.detail)}/></testcase>"
    if row.passed:
        return f"{start}/>"
    found = f"{row.outcome}, but expected: {row.why}"
    return f"{start}><failure message={_quote('; '.join(filter(None, (found, row.detail, row.fault))))}/></testcase>"


def _quote(text: str) -> str:
    return quoteattr(visible_line(text))
