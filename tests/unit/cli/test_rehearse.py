"""The exit status of `netctl rehearse`, and what it prints, without a lab."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from reconciler.cli import rehearse
from reconciler.kernel import sandbox
from reconciler.render.verify import ResultRow, VerifyDocument
from tests.harness.topologies.graphs import EXAMPLES

FAILED = ResultRow("policies", "front", "web", "db", "tcp", "10.44.0.2", 5432, 0, True, "silent", False, "a policy allows it")


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 6)])
def test_the_status_is_that_of_a_verification(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, passed: bool, status: int
) -> None:
    """A probe that finds a difference is status 6, in JSON and in the report, too."""
    document = VerifyDocument(1, "shop", passed, () if passed else (FAILED,))
    monkeypatch.setattr(sandbox, "enter_sandbox", lambda: None)
    monkeypatch.setattr(rehearse, "_carry_out", lambda *_, **__: (document, 3))
    report = tmp_path / "report.xml"
    options = Namespace(file=str(EXAMPLES[0]), json=True, junit=str(report), command="rehearse")
    assert rehearse.run(options) == status
    answer = json.loads(capsys.readouterr().out)
    assert (answer["passed"], answer["changes"], len(answer["verify"]["probes"])) == (passed, 3, 0 if passed else 1)
    assert ("<failure" in report.read_text()) is not passed


def test_outside_of_the_sandbox_nothing_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that waits returns the status of the sandbox, and does not rehearse by itself."""
    monkeypatch.setattr(sandbox, "enter_sandbox", lambda: 6)
    monkeypatch.setattr(rehearse, "_carry_out", lambda *_, **__: pytest.fail("it is not in the sandbox"))
    assert rehearse.run(Namespace(file=str(EXAMPLES[0]), json=False, junit=None, command="rehearse")) == 6
