"""A connection that stands still: both ends give it up in bounded time, and a slow one is not taken for a dead one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from reconciler.errors import HostError
from reconciler.fleet import ssh
from reconciler.fleet.bundle import read_bundle
from reconciler.topology.types import Connect
from reconciler.worker import bootstrap
from reconciler.worker.channel import Inbox, Outbox

FAR = Connect(scheme="ssh", user="root", name="far")
LOGIN = """
import sys, time
sys.stdin.buffer.readline()
time.sleep({login_s})
print('netctl {{"say": "code"}}', flush=True)
left = int(sys.stdin.buffer.read(10))
while left:
    left -= len(sys.stdin.buffer.read(min(left, 1 + {size} // 20)))
    time.sleep({code_s} / 20)
print('netctl {{"say": "ready"}}', flush=True)
sys.stdin.buffer.read()
"""


def start(monkeypatch: pytest.MonkeyPatch, login_s: float, code_s: float) -> None:
    """Start a worker by a remote host that takes so long to answer, and to read the worker's code."""
    size = len(read_bundle().archive)
    script = LOGIN.format(login_s=login_s, code_s=code_s, size=size)
    monkeypatch.setattr(ssh, "render_command", lambda *_: [sys.executable, "-c", script])
    monkeypatch.setattr(ssh, "START_TIMEOUT_S", 1.5)
    monkeypatch.setattr(ssh, "SLOWEST_BYTES_S", size / 4)
    ssh.start_ssh_worker(FAR, 60).kill()


def test_a_slow_link_brings_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of the worker may take longer than a login may."""
    begun = time.monotonic()
    start(monkeypatch, 0, 2.5)
    assert time.monotonic() - begun > 2


@pytest.mark.parametrize(("login_s", "code_s"), [(30, 0), (0, 60)])
def test_a_remote_host_that_hangs(monkeypatch: pytest.MonkeyPatch, login_s: float, code_s: float) -> None:
    """A login that hangs, and one that reads the code without end, are given up."""
    begun = time.monotonic()
    with pytest.raises(HostError, match="did not answer in time"):
        start(monkeypatch, login_s, code_s)
    assert time.monotonic() - begun < 10


def test_a_bootstrap_that_hears_nothing() -> None:
    """Its controller has gone without a word: it ends by itself, whether it waits for the program or for the code."""
    loader = bootstrap.LOADER.replace(str(bootstrap.SILENCE_S), "1")
    assert loader != bootstrap.LOADER
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", loader], stdin=subprocess.PIPE)
    assert process.wait(10) < 0
    assert process.stdin
    process.stdin.close()


def test_an_answer_that_is_not_taken() -> None:
    """A worker whose controller takes no more of a long answer goes on when the controller is given up."""
    reading, writing = os.pipe()
    ended = threading.Event()
    failures: list[BaseException] = []

    def send() -> None:
        try:
            Outbox(writing, ended).send({"answer": "x" * (1 << 20)})
        except BrokenPipeError as error:
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    ended.set()
    thread.join(5)
    assert len(failures) == 1
    os.close(reading)
    os.close(writing)


def test_an_answer_arrives_as_it_was_sent() -> None:
    """A long one, too, in whatever pieces it is read; where the reader has gone, the sender learns it."""
    reading, writing = os.pipe()
    outbox = Outbox(writing, threading.Event())
    sender = threading.Thread(target=lambda: outbox.send({"answer": "x" * (1 << 20)}))
    sender.start()
    inbox_line = b""
    while not inbox_line.endswith(b"\n"):
        inbox_line += os.read(reading, 1000)
    sender.join()
    assert inbox_line == b'{"answer":"' + b"x" * (1 << 20) + b'"}\n'
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        outbox.send({"answer": 1})
    os.close(writing)


def test_a_long_request_on_a_slow_line_is_a_sign_of_life() -> None:
    """Each byte counts as heard, though a piece of the line is far from full; requests come whole, in any division."""
    reading, writing = os.pipe()
    stream = os.fdopen(reading, "rb")
    inbox = Inbox(stream)
    begun = inbox.heard_s
    time.sleep(0.1)
    os.write(writing, b'{"verb": "plan", "desired"')
    time.sleep(0.1)
    assert inbox.heard_s > begun
    os.write(writing, b': 1}\n{"verb": "check"}\n{"verb": "ke')
    os.write(writing, b'ep"}\n')
    assert [inbox.next(), inbox.next(), inbox.next()] == [{"verb": "plan", "desired": 1}, {"verb": "check"}, {"verb": "keep"}]
    os.close(writing)
    assert inbox.next() is None
    stream.close()
