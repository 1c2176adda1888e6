"""Prints the matrix of modes, bridges and runtimes at the end of a run that has tried them (see `test_matrix`).

`tests/conftest.py` calls it: where tests run side by side, the process that reports collects none, and so knows
no other conftest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

MARKS = {"passed": "holds", "failed": "FAILS", "error": "FAILS", "skipped": "not tried"}
REFUSED = "refused"
MATRIX = "matrix"
"""The property of a test that says which cells it has tried: a row, a column, and why it is refused, or ""."""


def print_matrix(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each mode and bridge, a column for each runtime; why a cell is refused stands below."""
    rows: dict[str, dict[str, str]] = {}
    reasons: dict[str, str] = {}
    for row, column, mark, reason in _read_cells(terminalreporter):
        rows.setdefault(row, {})[column] = mark
        if reason:
            reasons[row] = reason
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    terminalreporter.section("applied twice, verified, restarted, destroyed: mode and bridge, runtime")
    terminalreporter.line(f"{'':26}" + "".join(f"{column:10}" for column in columns))
    for name in sorted(rows, key=lambda name: name.split(" on ")[::-1]):
        terminalreporter.line(f"{name:26}" + "".join(f"{rows[name].get(column, '-'):10}" for column in columns))
    for name, reason in reasons.items():
        terminalreporter.line(f"{name} is refused: {reason}")


def _read_cells(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, str, str, str]]:
    """Row, column, what is printed there, and why where it is refused."""
    for outcome, mark in MARKS.items():
        for report in reporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", ()):
                if name == MATRIX:
                    row, column, reason = value
                    yield row, column, REFUSED if reason and outcome == "passed" else mark, reason
