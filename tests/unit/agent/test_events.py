"""The log of events, as `netctl watch` follows it: every event, in order, also the last ones and those of the next file."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.agent import state
from reconciler.agent.state import append_event, follow_events


def test_every_event_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier events are left out; a file that is full and begun again, or deleted at the end, loses none."""
    monkeypatch.setattr(state, "LOG_MAX_BYTES", 40)
    append_event("shop", {"number": 0}, tmp_path)
    found = follow_events("shop", 0.0, tmp_path)
    assert next(found) is None
    seen: list[int] = []
    for number in range(1, 20):
        append_event("shop", {"number": number}, tmp_path)
        if number % 2:
            event = next(found)
            while event is not None:
                seen.append(event["number"])
                event = next(found)
    append_event("shop", {"number": 20}, tmp_path)
    (tmp_path / "shop.log").unlink()
    event = next(found)
    assert event is not None
    seen.append(event["number"])
    assert next(found) is None
    found.close()
    assert seen == list(range(1, 21))


def test_a_file_that_comes_later_is_followed_from_its_start(tmp_path: Path) -> None:
    """An agent that has not reported yet has no file."""
    found = follow_events("shop", 0.0, tmp_path)
    assert next(found) is None
    append_event("shop", {"number": 1}, tmp_path)
    assert [next(found), next(found)] in ([{"number": 1}, None], [None, {"number": 1}])
    found.close()
