"""`netctl graph`: the form that it chooses, where it writes, and the badges that it makes of a status and a plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.graph import compile_badges
from reconciler.graph.model import Badge
from reconciler.kinds.netns import Netns
from reconciler.plan.document import HostPlan
from reconciler.render.status import Difference, HostStatus, Item, StatusDocument
from reconciler.state.record import Change
from reconciler.state.ref import container_netns
from reconciler.state.subject import Subject
from tests.harness.netctl import run_netctl
from tests.harness.topologies.graphs import EXAMPLES, ROOT

DEMO = EXAMPLES[0]
STARTS = {"svg": "<svg ", "html": "<!DOCTYPE html>", "mermaid": "flowchart", "dot": "digraph", "json": "{"}


@pytest.mark.parametrize("form", STARTS)
def test_a_format_is_printed(form: str) -> None:
    """Without -o the picture goes to standard output, and nothing else does."""
    outcome = run_netctl("graph", DEMO, "--format", form)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(STARTS[form])


@pytest.mark.parametrize(
    ("name", "form"), [("a.svg", "svg"), ("a.HTML", "html"), ("a.mmd", "mermaid"), ("a.gv", "dot"), ("a", "svg")]
)
def test_the_name_of_the_file_chooses_the_format(tmp_path: Path, name: str, form: str) -> None:
    """The end of the name says the format; one that says nothing means SVG."""
    outcome = run_netctl("graph", DEMO, "-o", tmp_path / name)
    assert (outcome.status, outcome.out) == (0, "")
    assert (tmp_path / name).read_text().startswith(STARTS[form])


def test_json_is_a_format() -> None:
    """--json means --format json, and excludes another one."""
    assert json.loads(run_netctl("graph", DEMO, "--json").out)["topology"] == "shop"
    outcome = run_netctl("graph", DEMO, "--json", "--format", "svg")
    assert outcome.status == 2
    assert "exclude each other" in outcome.err


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """A missing directory is a sentence and status 2."""
    outcome = run_netctl("graph", DEMO, "-o", tmp_path / "none" / "a.svg")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: cannot write {tmp_path}/none/a.svg: No such file or directory")


def test_a_faulty_file_is_refused(tmp_path: Path) -> None:
    """The faults are those of `netctl validate`."""
    path = tmp_path / "t.yaml"
    path.write_text("version: 1\nname: t\nhost: {}\n")
    assert run_netctl("graph", path).err == run_netctl("validate", path).err


def test_marks_are_the_words_of_status_and_diff() -> None:
    """A state is that of `status`, a sign and its words those of `diff`; what has both keeps both."""
    web, db = Subject.container("web"), Subject.container("db")
    items = (
        Item(web, "missing", "eth0", (Difference("netns", "container:web", "namespace: missing"),)),
        Item(db, "in step", "eth0"),
    )
    status = StatusDocument(1, "shop", False, (HostStatus("alpha", "drifted", items),))
    record = Netns(container_netns("web"))
    plans = {"alpha": HostPlan("alpha", changes=(Change(record.ref, None, record, "missing"),))}
    badges = compile_badges(status, plans)
    assert badges["alpha", db] == Badge("in step")
    assert (badges["alpha", web].state, badges["alpha", web].sign) == ("missing", "+")
    assert badges["alpha", web].texts[0] == "namespace: missing"
    assert compile_badges(None, plans)["alpha", web].state == ""
    assert compile_badges(None, {}) == {}


def test_the_page_of_the_demo_is_complete(tmp_path: Path) -> None:
    """The assets of the page are files of the package, as setuptools installs them."""
    assert {path.name for path in (ROOT / "reconciler/graph/assets").iterdir()} == {
        "defs.svg",
        "page.css",
        "page.html",
        "page.js",
        "picture.css",
    }
    outcome = run_netctl("graph", DEMO, "-o", tmp_path / "a.html")
    assert outcome.status == 0
    text = (tmp_path / "a.html").read_text()
    assert "@DATA@" not in text
    assert "const data = JSON.parse" in text
