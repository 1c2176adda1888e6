"""A stop during requests: it is followed after them, and never leaves a lock behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any, cast

import pytest

from reconciler.fleet import side_by_side
from reconciler.fleet.session import Session
from reconciler.fleet.side_by_side import SideBySide, StoppedError

STRESS = """
import faulthandler, random, signal, time
from reconciler.fleet.side_by_side import SideBySide

class Stop(Exception):
    pass

def raise_once(*_):
    global is_armed
    if is_armed:
        is_armed = False
        raise Stop

signal.signal(signal.SIGINT, raise_once)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
faulthandler.dump_traceback_later(60, exit=True)
lot = random.Random(1)
for _ in range(2000):
    hosts = SideBySide()
    hosts.sessions.update({str(number): object() for number in range(3)})
    is_armed = True
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-5 + lot.random() * 6e-4)
        for _ in range(50):
            hosts.run(lambda session: time.sleep(0))
    except Stop:
        pass
    is_armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    hosts.close()
"""


def test_a_handler_that_raises_leaves_no_lock() -> None:
    """Signals whose handlers raise come at any moment of requests: the threads of all hosts end each time."""
    done = subprocess.run([sys.executable, "-c", STRESS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class Hanging:
    """A session whose worker does not answer until it is killed."""

    def __init__(self) -> None:
        """It runs."""
        self.killed = threading.Event()

    def give_up(self, _why: str) -> None:
        """Kill it."""
        self.killed.set()


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> SideBySide:
    """One host that hangs."""
    monkeypatch.setattr(side_by_side, "GRACE_S", 0.1)
    found = SideBySide()
    found.sessions["one"] = cast("Session", Hanging())
    return found


def hang(session: Any) -> bool:
    """The request."""
    return bool(session.killed.wait(20))


def test_a_reading_that_hangs_is_given_up(hosts: SideBySide) -> None:
    """A stop kills the worker of a reading that does not end soon, and the handler of the signal raises afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
        begun_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            hosts.run(hang)
    finally:
        signal.signal(signal.SIGINT, before)
    hosts.close()
    assert time.monotonic() - begun_s < 5


def test_a_controller_that_lives_on_gets_a_stopped_error(hosts: SideBySide) -> None:
    """Without a handler that raises, StoppedError ends the reading, and no further request begins."""
    stops: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))
    hosts.must_stop = lambda: bool(stops)
    try:
        threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()
        for _ in range(2):
            with pytest.raises(StoppedError):
                hosts.run(hang)
    finally:
        signal.signal(signal.SIGTERM, before)
    hosts.close()


def test_a_change_is_not_left(hosts: SideBySide) -> None:
    """A controller that must stop when a change begins asks the workers to stop, and waits for them."""
    hosts.must_stop = lambda: True
    with hosts.catching_signals():
        assert hosts.wants_stop
        cast("Any", hosts.sessions["one"]).cancel = cast("Any", hosts.sessions["one"]).killed.set
        assert hosts.run(hang) == {"one": True}
    hosts.close()
