"""Prints the matrix of modes, bridges and runtimes at the end of a run that has tried them (see `test_matrix`)."""

from __future__ import annotations

import pytest

MARKS = {"passed": "holds", "failed": "FAILS", "error": "FAILS", "skipped": "not tried"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each mode, a column for each bridge and runtime; `refused` is what the file format refuses."""
    cells: dict[str, dict[str, str]] = {}
    for outcome, mark in MARKS.items():
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(getattr(report, "user_properties", ()))
            if "matrix" in properties:
                mode, column = properties["matrix"]
                cells.setdefault(mode, {})[column] = properties["held"] if outcome == "passed" else mark
    if not cells:
        return
    columns = sorted({column for row in cells.values() for column in row}, key=lambda name: (not name.endswith("netns"), name))
    terminalreporter.section("applied twice, verified, destroyed: mode, bridge, runtime")
    terminalreporter.line(f"{'':10}" + "".join(f"{column:22}" for column in columns))
    for mode, row in cells.items():
        terminalreporter.line(f"{mode:10}" + "".join(f"{row.get(column, '-'):22}" for column in columns))
