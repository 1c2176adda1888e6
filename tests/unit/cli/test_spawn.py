"""netctl that a server forks for the tests says and ends as the program does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.netctl import exec_netctl, run_netctl

LINES: tuple[list[str], ...] = (
    ["--help"],
    ["--version"],
    [],
    ["nonsense"],
    ["apply", "--nope"],
    ["validate", "/none"],
    ["validate", "topology.yaml"],
)


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_forked_as_started(words: list[str]) -> None:
    """The same output, the same errors, the same exit status."""
    assert run_netctl(*words) == exec_netctl(*words)


def test_it_has_the_variables_and_the_directory_of_its_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a test changes of its own process is changed for netctl, too, although the server has started before."""
    run_netctl("--version")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    (tmp_path / "here.yaml").write_text("version: 1\nname: x\n")
    for words in (("validate", "here.yaml"), ("apply", "--help")):
        assert run_netctl(*words) == exec_netctl(*words, env={"COLUMNS": "60"})
