"""JUnit's XML: a suite for each section, a test for each probe, and what a failure says."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from reconciler.render.junit import render_junit
from reconciler.render.verify import ResultRow, VerifyDocument


def row(section: str, outcome: str, *, passed: bool, target: str = "db", fault: str = "") -> ResultRow:
    return ResultRow(
        section, "front", "web", target, "tcp", "10.44.0.2", 5432, 0, True, outcome, passed, "a policy allows it", "", fault
    )


def test_a_report_counts_and_names() -> None:
    """Totals are those of the suites; a failed probe has the reason and the likely fault, a skipped one its own element."""
    rows = (
        row("policies", "answered", passed=True),
        row("forbidden", "answered", passed=True),
        row("policies", "silent", passed=False, fault="ufw drops it"),
        row("policies", "skipped", passed=True),
    )
    root = ET.fromstring(render_junit(VerifyDocument(1, "prod", False, rows), 1.5))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("skipped"), root.get("time")) == (
        "testsuites",
        "4",
        "1",
        "1",
        "1.500",
    )
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [("forbidden", "1"), ("policies", "3")]
    cases = list(root.iter("testcase"))
    assert cases[1].get("name") == "web to db (10.44.0.2 tcp 5432) passes"
    assert cases[1].get("classname") == "prod.policies"
    failure = cases[2].find("failure")
    assert failure is not None
    assert failure.get("message") == "silent, but expected: a policy allows it; ufw drops it"
    assert cases[3].find("skipped") is not None


def test_hostile_names_stay_text() -> None:
    """Quotes, markup and control characters are escaped, so that the file is well-formed."""
    hostile = "\"'><x>&\x1b\x00\u202e"
    root = ET.fromstring(
        render_junit(VerifyDocument(1, hostile, True, (row("policies", "answered", passed=True, target=hostile),)), 0)
    )
    assert "<x>" in str(next(root.iter("testcase")).get("name"))
