"""When an agent reads: after quiet, at the latest after half a second, and later and later after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.timing import FULL_S, JITTER, QUIET_MAX_S, QUIET_S, RETRY, Debounce, Schedule, next_full_s
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


def test_a_failed_cycle_is_tried_again_later_and_later() -> None:
    """Without a hint a cycle that failed is due again; each failure doubles the wait, and a success ends it."""
    schedule, now_s, waits = Schedule(), 0.0, []
    for _ in range(3):
        schedule.begin(now_s, 0.5)
        schedule.failed(now_s)
        waits.append(round(schedule.due_s - now_s, 3))
        now_s = schedule.due_s
    assert waits == [0.1, 0.2, 0.4]
    schedule.begin(now_s, 0.5)
    schedule.found_nothing(now_s, is_full=True)
    assert schedule.due_s > now_s + FULL_S / 2


def test_an_engine_that_is_there_again_ends_the_wait() -> None:
    """After failures, an event of an engine or the file is followed at once; another hint waits for the backoff."""
    schedule = Schedule()
    for _ in range(10):
        schedule.begin(0.0, 0.5)
        schedule.failed(0.0)
    schedule.hinted(1.0)
    assert schedule.due_s > 10
    schedule.hinted(1.0, is_news=True)
    assert schedule.due_s <= 1.0 + RETRY.first_s


def test_hints_that_mean_nothing_are_followed_less_often() -> None:
    """Noise of others leads to a reading each second at most; a repair makes the agent quick again."""
    schedule, now_s = Schedule(), 1000.0
    schedule.begin(now_s, 0.5)
    for _ in range(20):
        schedule.hinted(now_s)
        now_s = schedule.due_s
        schedule.begin(now_s, 0.5)
        schedule.found_nothing(now_s, is_full=False)
    schedule.hinted(now_s)
    assert round(schedule.due_s - now_s, 6) == 1.0
    schedule.repaired(now_s)
    schedule.begin(now_s, 0.5)
    schedule.hinted(now_s)
    assert round(schedule.due_s - now_s, 6) == QUIET_S


def test_a_repair_is_read_again_at_once() -> None:
    """After a repair another reading is due without a hint."""
    schedule = Schedule()
    schedule.begin(5.0, 0.5)
    schedule.repaired(5.0)
    assert schedule.due_s == 5.0
