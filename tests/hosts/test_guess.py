from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.hosts.guess import guess_targets
from reconciler.hosts.target import targets_of
from reconciler.topology.draft import read_draft
from reconciler.topology.load import check_draft

FILES = sorted([*Path("examples").glob("*.yaml"), Path("topology.yaml")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_guess_is_right_or_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a file that is right, what is guessed is what the checked file says, or nothing."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    draft = read_draft(str(file))
    guess = guess_targets(draft.document.tree)
    if guess:
        assert guess == targets_of(check_draft(draft))


def test_a_plain_lab_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts of the top-level file are read while it is checked, unless the environment names an engine."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    tree = read_draft("topology.yaml").document.tree
    assert [target.host for target in guess_targets(tree)] == ["lab", "alpha", "beta"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/other.sock")
    assert guess_targets(tree) == ()


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "text",
        {"name": "../../etc", "hosts": {"a": {"connect": "lab"}}, "containers": {}},
        {"name": "t", "hosts": {"a/b": {"connect": "lab"}}, "containers": {}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}, "b": {"connect": "local"}}, "containers": {}},
        {"name": "t", "hosts": {"a": {"connect": "lab"}}, "containers": {"c": {"image": "busybox"}}},
        {"name": "t", "hosts": {"a": None}, "containers": {"c": 7}},
        {"name": "t", "hosts": {}, "containers": {}},
    ],
)
def test_nothing_is_guessed_of_what_is_not_plain(tree: object) -> None:
    """Whatever is in an unchecked file, only names become parts of paths, and the rest is left to the check."""
    assert guess_targets(tree) == ()
