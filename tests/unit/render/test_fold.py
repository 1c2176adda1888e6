"""Lines folded to the width of a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.render.fold import WIDTH_MIN, fold

ROW = "  container web  drifted   eth0 10.44.0.10/24 on front, default via 10.44.0.1, 1 published port (tcp 8080)"


@pytest.mark.parametrize("width", [60, 80])
def test_no_word_breaks(width: int) -> None:
    """No line is longer than the terminal is wide, every word is whole, and the rest stands below its column."""
    lines = fold(ROW, width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == ROW.split()
    column = ROW.index("eth0")
    assert all(line[:column].strip() == "" for line in lines[1:])


def test_a_command_stays_whole() -> None:
    """A command between backticks can be copied from one line."""
    line = "shop is not in step: 10 of 16 drifted. `netctl apply --host alpha` repairs it."
    assert any("`netctl apply --host alpha`" in part for part in fold(line, 60).splitlines())


def test_colours_take_no_room() -> None:
    """Escape sequences count nothing, and none gets lost."""
    coloured = ROW.replace("drifted", "\x1b[33mdrifted\x1b[0m")
    assert fold(coloured, 80).replace("\x1b[33m", "").replace("\x1b[0m", "") == fold(ROW, 80)
    assert fold(coloured, 80).count("\x1b[") == 2


def test_a_pipe_or_a_narrow_terminal_folds_nothing() -> None:
    """Programs read whole lines."""
    assert fold(ROW, 0) == fold(ROW, WIDTH_MIN - 1) == ROW


@given(st.text(st.sampled_from("ab `\x1b[3m\n"), max_size=200), st.integers(WIDTH_MIN, 80))
def test_nothing_is_lost(text: str, width: int) -> None:
    """All but blanks is the same afterwards, whatever the text."""
    assert re.sub(r"\s", "", fold(text, width)) == re.sub(r"\s", "", text)
