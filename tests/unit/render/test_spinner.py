"""The sign that netctl still reads: on a terminal only, after a while, and gone afterwards."""

from __future__ import annotations

import io
import time

import pytest

from reconciler.render import spinner
from reconciler.render.spinner import ERASE, spin


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinner, "DELAY_S", 0.01)
    monkeypatch.setattr(spinner, "TURN_S", 0.01)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_it_turns_and_leaves_nothing() -> None:
    """The text is drawn in place while the block runs, and erased at its end."""
    stream = Terminal()
    deadline = time.monotonic() + 10
    with spin(stream, "reading 2 hosts"):
        while stream.getvalue().count("reading 2 hosts") < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
    assert stream.getvalue().startswith(f"{ERASE}| reading 2 hosts")
    assert stream.getvalue().endswith(ERASE)


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_a_pipe_shows_nothing(stream: io.StringIO, quiet: bool) -> None:
    """Nor does a terminal with --quiet or --json."""
    with spin(stream, "reading", quiet=quiet):
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that ends at once draws nothing."""
    monkeypatch.setattr(spinner, "DELAY_S", 30)
    stream = Terminal()
    with spin(stream, "reading"):
        pass
    assert stream.getvalue() == ""
