"""What is changed again and again is left alone for a while, and nothing else is."""

from __future__ import annotations

from reconciler.agent.contest import FAILED, PAUSE, REPAIRS_MAX, WINDOW_S, Contests
from reconciler.state.ref import Ref

ONE, OTHER = ("alpha", Ref("address", "", "eth0 10.0.0.1/24")), ("alpha", Ref("address", "", "eth0 10.0.0.2/24"))


def test_five_repairs_in_a_minute_are_a_contest() -> None:
    """The fifth repair of one thing within a minute begins a contest; another thing is not part of it."""
    contests = Contests()
    for number in range(REPAIRS_MAX - 1):
        assert contests.note([ONE], float(number)) == ()
    assert contests.note([OTHER], 4.0) == ()
    assert contests.note([ONE], 5.0) == (ONE,)
    assert contests.withheld("alpha", 5.1) == {ONE[1]}
    assert contests.withheld("beta", 5.1) == frozenset()
    assert contests.next_s(5.1) == 5.0 + PAUSE.delay_s


def test_the_last_suspect_is_named() -> None:
    """The programs that were at work before a repair stand with the contested thing."""
    contests = Contests()
    for _ in range(REPAIRS_MAX):
        contests.note([ONE], 0.0, ("firewalld",))
    assert contests.describe() == ("alpha: address eth0 10.0.0.1/24 (changed by firewalld)",)


def test_repairs_far_apart_are_none() -> None:
    """A thing that is repaired each quarter of a minute is not contested."""
    contests = Contests()
    for number in range(20):
        assert contests.note([ONE], number * (WINDOW_S / (REPAIRS_MAX - 1) + 0.1)) == ()


def test_the_pause_grows_to_a_minute_and_ends() -> None:
    """A contested thing is tried again after its pause; the next pause is longer, up to 60 s. After a quiet minute it is over."""
    contests, now_s, pauses = Contests(), 0.0, []
    for _ in range(REPAIRS_MAX - 1):
        contests.note([ONE], now_s)
    for _ in range(6):
        contests.note([ONE], now_s)
        until_s = contests.next_s(now_s)
        assert until_s is not None
        pauses.append(until_s - now_s)
        assert contests.withheld("alpha", until_s) == frozenset()
        now_s = until_s
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0
    contests.forget(now_s + WINDOW_S + 1)
    assert contests.contested == {}
    assert contests.note([ONE], now_s + WINDOW_S + 2) == ()


def test_what_cannot_be_repaired_is_tried_later_and_later() -> None:
    """A thing whose repair failed is left alone for a while, which grows; it is forgotten after a minute without a failure."""
    contests = Contests()
    contests.set_aside(ONE, 0.0)
    assert contests.is_failing(0.1)
    assert contests.withheld("alpha", 0.1) == {ONE[1]}
    first_s = contests.next_s(0.1)
    assert first_s == FAILED.delay_s
    assert not contests.is_failing(first_s)
    contests.forget(first_s)
    contests.set_aside(ONE, first_s)
    assert contests.next_s(first_s) == first_s + 2 * FAILED.delay_s
    contests.forget(first_s + 2 * FAILED.delay_s + WINDOW_S + 1)
    assert contests.failing == {}


def test_what_was_repaired_long_ago_is_forgotten() -> None:
    """Memory does not grow with each thing that was ever repaired."""
    contests = Contests()
    contests.note([ONE, OTHER], 0.0)
    contests.forget(WINDOW_S + 1)
    assert contests.repairs == {}
