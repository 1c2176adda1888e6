"""One netctl at a time on a host, and the other learns which."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.errors import HostError, LockedError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory.lock import HostLock

HOLD = """
import sys, pathlib
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory.lock import HostLock
lock = HostLock(KernelContext("shop", "local", run_directory=pathlib.Path(sys.argv[1]))).take("netctl apply shop.yaml")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def context(tmp_path: Path) -> KernelContext:
    return KernelContext("shop", "local", run_directory=tmp_path)


def test_second_learns_who_holds_it(context: KernelContext) -> None:
    """The one that comes second gets the process, its command and since when; after the first, it gets the lock."""
    first = HostLock(context).take("netctl apply shop.yaml", os.getpid())
    with pytest.raises(LockedError, match=rf"process {os.getpid()} \(netctl apply shop\.yaml\), since 20\d\d-") as caught:
        HostLock(context).take("netctl destroy")
    assert caught.value.exit_status == 7
    first.release()
    HostLock(context).take("netctl destroy").release(remove=True)
    assert not context.host_directory.exists()


def test_lock_of_the_dead_is_free(context: KernelContext) -> None:
    """A holder that is killed holds nothing any more, whatever stands in the file."""
    command = [sys.executable, "-c", HOLD, str(context.run_directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} "):
            HostLock(context).take("netctl apply")
        holder.kill()
        holder.wait()
    HostLock(context).take("netctl apply").release()


def test_file_that_says_nothing(context: KernelContext) -> None:
    """A holder that has not yet written its name is named as such."""
    first = HostLock(context).take("netctl apply")
    (context.host_directory / "lock").write_text("")
    with pytest.raises(LockedError, match="not described yet"):
        HostLock(context).take("netctl apply")
    first.release()


def test_directory_with_other_files_stays(context: KernelContext) -> None:
    """The lock goes, what else is remembered of the host stays."""
    lock = HostLock(context).take("netctl apply")
    (context.host_directory / "sysctl").write_text("noted")
    lock.release(remove=True)
    assert [path.name for path in context.host_directory.iterdir()] == ["sysctl"]
    lock.release(remove=True)


def test_removal_never_lets_two_in(context: KernelContext) -> None:
    """Many threads that take the lock, and remove its file when they let go, are never in there together."""
    inside: list[int] = []
    most: list[int] = []
    rounds = 40

    def work() -> None:
        done = 0
        while done < rounds:
            lock = HostLock(context)
            try:
                lock.take("netctl apply", os.getpid())
            except LockedError:
                continue
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            lock.release(remove=True)
            done += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 4 * rounds
    assert max(most) == 1
    assert not context.host_directory.exists()


def test_file_instead_of_the_directory(context: KernelContext) -> None:
    """What cannot be is an error that names the path, not an endless loop."""
    context.host_directory.write_text("")
    with pytest.raises(HostError, match="cannot create"):
        HostLock(context).take("netctl apply")


def test_file_removed_between_opening_and_locking(context: KernelContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opened the file before it was removed, and locks it after, does not have the lock: a third has it, on the new file."""
    first = HostLock(context).take("netctl apply")
    third = HostLock(context)
    lock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.release(remove=True)
        third.take("netctl destroy", os.getppid())
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(LockedError, match=f"process {os.getppid()} "):
        HostLock(context).take("netctl apply")
    third.release(remove=True)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "read-only"), (errno.EACCES, "run it with sudo"), (errno.EIO, "")],
)
def test_a_disk_that_takes_nothing(context: KernelContext, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    """Full, read-only or not ours: a sentence with what to do, nothing held, and no file left."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(HostError, match=os.strerror(number)) as caught:
            HostLock(context).take("netctl apply")
    assert advice in caught.value.help_text
    assert not context.host_directory.exists()
    HostLock(context).take("netctl apply").release(remove=True)


ORPHAN = """
import sys, pathlib
from reconciler.kernel.context import KernelContext
from reconciler.kernel.run_directory.lock import HostLock
lock = HostLock(KernelContext("shop", "local", run_directory=pathlib.Path(sys.argv[1]))).take("netctl apply", run="1")
lock.mark(orphan=sys.argv[2] == "orphan")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("state", "run", "is_replaced"), [("orphan", "2", True), ("live", "1", True), ("live", "2", False)])
def test_an_orphan_is_replaced(context: KernelContext, state: str, run: str, is_replaced: bool) -> None:
    """A worker that lost its controller is killed and replaced; so is one of the same run; that of a live controller is not."""
    command = [sys.executable, "-c", ORPHAN, str(context.run_directory), state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        if is_replaced:
            HostLock(context).take("netctl apply", run=run).release(remove=True)
            assert holder.wait() == -signal.SIGKILL
        else:
            with pytest.raises(LockedError, match=f"process {holder.pid} "):
                HostLock(context).take("netctl apply", run=run)
        holder.kill()
        holder.wait()


def test_a_process_without_the_lock_is_never_killed(context: KernelContext) -> None:
    """The number in the file belongs to another by now: it lives."""
    first = HostLock(context).take("netctl apply", run="1")
    path = context.host_directory / "lock"
    with subprocess.Popen(["sleep", "100"]) as other:
        path.write_text(
            path.read_text()
            .replace(f'"worker": {os.getpid()}', f'"worker": {other.pid}')
            .replace('"orphan": false', '"orphan": true')
        )
        with pytest.raises(LockedError):
            HostLock(context).take("netctl apply", run="2")
        assert other.poll() is None
        other.kill()
    first.release(remove=True)
