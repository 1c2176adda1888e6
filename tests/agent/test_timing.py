"""When an agent reads: after quiet, at the latest after half a second, and later and later after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.timing import FULL_S, JITTER, QUIET_MAX_S, QUIET_S, RETRY, Debounce, next_full_s
from reconciler.state.backoff import Backoff


def test_no_hint_is_never_due() -> None:
    """Without a hint nothing is read."""
    assert Debounce().due_s is None


def test_one_hint_is_due_after_quiet() -> None:
    """A hint is followed after 50 ms of quiet."""
    assert Debounce().hinted(7.0).due_s == 7.0 + QUIET_S


@given(st.lists(st.floats(0, 0.2), max_size=50))
def test_many_hints_wait_for_quiet_but_not_without_end(gaps: list[float]) -> None:
    """Hints without a pause put the reading off by 500 ms at most, and one after a pause by 50 ms."""
    debounce, now_s = Debounce().hinted(0.0), 0.0
    for gap_s in gaps:
        now_s += gap_s
        debounce = debounce.hinted(now_s)
    assert debounce.due_s == min(now_s + QUIET_S, QUIET_MAX_S)


@given(st.floats(0, 1))
def test_full_readings_drift_apart(lot: float) -> None:
    """A full reading is due each 60 s, give or take a tenth."""
    assert FULL_S * (1 - JITTER) <= next_full_s(100.0, lot) - 100.0 <= FULL_S * (1 + JITTER)


def test_backoff_doubles_up_to_its_limit_and_ends_with_a_success() -> None:
    """Delays double; the limit holds for any number of failures; a success ends it."""
    backoff, delays = Backoff(1.0, 5.0), []
    for _ in range(4):
        backoff = backoff.failed()
        delays.append(backoff.delay_s)
    assert delays == [1.0, 2.0, 4.0, 5.0]
    assert Backoff(1.0, 5.0, failures=10**6).delay_s == 5.0
    assert backoff.succeeded().delay_s == 0.0
    assert RETRY.delay_s == 0.0
