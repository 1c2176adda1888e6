"""Prints at the end of a run which blocks of the documents were not run, and why (see `tests/harness/documents.py`)."""

from __future__ import annotations

import pytest

NOT_RUN = "block not run"
"""The property of a test that names a block and the reason."""


def print_blocks_not_run(reporter: pytest.TerminalReporter) -> None:
    """A line for each such block, and their number."""
    found = {
        tuple(value)
        for reports in reporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == NOT_RUN
    }
    if found:
        reporter.section(f"{len(found)} blocks of the documents were not run")
        for place, reason in sorted(found):
            reporter.line(f"{place}: {reason}")
