"""The samples of docs/explain.md are what the commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness.netctl import run_netctl

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = re.findall(r"^```\n\$ netctl (.*)\n((?:.*\n)*?)```$", (ROOT / "docs/explain.md").read_text(), re.MULTILINE)


def test_the_document_has_samples() -> None:
    """A pattern that finds none would let all of them rot."""
    assert [words.split()[0] for words, _ in SAMPLES] == ["explain", "explain", "exposure"]


@pytest.mark.parametrize(("words", "sample"), SAMPLES)
def test_the_samples_are_real(words: str, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line for line; `…` stands for lines that are left out."""
    monkeypatch.chdir(ROOT)
    printed = run_netctl(*words.split()).out
    parts = [re.escape(part) for part in sample.split("…\n")]
    assert re.fullmatch("(?:.*\n)*?".join(parts), printed), printed
