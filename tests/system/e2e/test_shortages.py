"""A machine that is short of memory or of room under /run: a sentence, a true exit status, and nothing left."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pytest

from reconciler.errors import HostError, translate
from reconciler.fleet.fleet import ADDRESS_SPACE_BYTES
from reconciler.kernel.processes import limits
from reconciler.kernel.processes.commands import check_programs
from reconciler.state.steps.containers import ProcessStart
from tests.harness.faults.strike import Fault, quick_netctl, start_quick, wait_for_fault
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome
from tests.harness.topologies.local import LOCAL, write

pytestmark = pytest.mark.kernel
UNTOUCHED, ROLLED_BACK, LEFT = 3, 4, 5
LIMITS_MB = (60, 75, 90, 115, 170, 2000)
"""Of address space, which counts the stacks of threads: what fits differs from machine to machine, but for the last."""


def run_with_limit(machine: Machine, file: Path, limit_mb: int) -> Outcome:
    """An apply, as users start it, that may not have more address space."""

    def body() -> int:
        resource.setrlimit(resource.RLIMIT_AS, (limit_mb << 20, limit_mb << 20))
        os.execve(sys.executable, [sys.executable, "-m", "reconciler", "apply", "-q", str(file)], {**os.environ, "NO_COLOR": "1"})

    return machine.start(body).wait()


def test_too_little_memory(furnished: Machine) -> None:
    """Under each limit an apply succeeds, touches nothing or rolls back; it says so in a sentence, and leaves nothing.

    In very little memory it does not begin: a thread that cannot say that it runs would be waited for without end.
    """
    file = write(furnished, LOCAL)
    empty = read_live(furnished)
    statuses = []
    for limit_mb in LIMITS_MB:
        done = run_with_limit(furnished, file, limit_mb)
        statuses.append(done.status)
        assert done.status in {0, UNTOUCHED, ROLLED_BACK}, f"{limit_mb} MB: {done.err}"
        if done.status:
            assert "memory" in done.err or "thread" in done.err, f"{limit_mb} MB: {done.err}"
            assert differences(empty, read_live(furnished)) == "", f"{limit_mb} MB: {done.err}"
        if limit_mb < ADDRESS_SPACE_BYTES >> 20:
            assert f"cannot work in {limit_mb} MiB of address space" in done.err
        assert quick_netctl(furnished, "destroy", "-q", file)[0].status == 0
        assert differences(empty, read_live(furnished)) == ""
    assert statuses[-1] == 0
    assert {UNTOUCHED, ROLLED_BACK} & set(statuses), statuses


def test_too_few_processes() -> None:
    """A process or a thread that the kernel does not start is no defect of netctl's: the sentence names the limit."""
    for error in (BlockingIOError(11, "Resource temporarily unavailable"), RuntimeError("can't start new thread")):
        told = translate(error)
        assert isinstance(told, HostError)
        assert "pids.max" in told.help_text
    assert translate(RuntimeError("dictionary changed size during iteration")) is None


@pytest.mark.parametrize(("controllers", "allowed"), [("pids", 21), ("", 21), ("pids", 22), ("", "max")])
def test_too_few_processes_for_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str, allowed: int | str
) -> None:
    """A command takes two processes. If a control group has no room for them, the limit is named before anything is made."""
    group = tmp_path / "user/session"
    group.mkdir(parents=True)
    for path, limit in ((tmp_path / "user", allowed), (group, "max")):
        (path / "pids.max").write_text(f"{limit}\n")
        (path / "pids.current").write_text("18\n")
    (tmp_path / "cgroup").write_text(f"7:cpu,cpuacct:/\n3:{controllers}:/user/session\n")
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "MOUNTS", {controllers: tmp_path})
    steps = [ProcessStart(f"container:{name}", name, ("sleep", "1")) for name in ("web", "db")]
    if allowed != 21:
        check_programs(steps)
        return
    words = f"cannot start 2 commands: .* pids.max is 21 in {tmp_path}/user, and 18 are there"
    with pytest.raises(HostError, match=words) as caught:
        check_programs(steps)
    assert "pids.max" in caught.value.help_text


@pytest.mark.parametrize("options", ["size=4k", "size=8k", "size=1m,nr_inodes=3", "size=1m,nr_inodes=5"])
def test_too_little_room(furnished: Machine, options: str) -> None:
    """With /run/netctl too small, an apply rolls back and names the file; with room again, the next apply does all."""
    file = write(furnished, LOCAL)
    furnished.sh(f"mkdir -m 700 /run/netctl; mount -t tmpfs -o mode=700,{options} tmpfs /run/netctl")
    empty = read_live(furnished)
    done, _ = quick_netctl(furnished, "apply", "-q", file)
    assert done.status == ROLLED_BACK, done.err
    assert "/run/netctl/" in done.err
    assert "No space left on device" in done.err
    assert done.err.endswith("; every host is as it was before\n")
    assert differences(empty, read_live(furnished)) == ""
    furnished.sh("umount /run/netctl")
    assert quick_netctl(furnished, "apply", "-q", file)[0].status == 0
    assert quick_netctl(furnished, "diff", file)[0].status == 0


@pytest.mark.parametrize("at", [5, 40])
def test_room_that_ends_in_mid_apply(furnished: Machine, at: int) -> None:
    """/run/netctl fills up in mid-apply: back, or what is left is named, for a setting's file cannot be replaced either."""
    file = write(furnished, LOCAL)
    furnished.sh("mkdir -m 700 /run/netctl; mount -t tmpfs -o mode=700,size=64k tmpfs /run/netctl")
    running, counter = start_quick(furnished, "apply", "-q", file, fault=Fault("pause", at))
    wait_for_fault(counter)
    furnished.run("dd", "if=/dev/zero", "of=/run/netctl/filler", "bs=4k", check=False)
    furnished.sh("touch /run/go-on")
    done = running.wait()
    assert done.status in {ROLLED_BACK, LEFT}, done.err
    assert "/run/netctl/local/sysctl: No space left on device" in done.err
    furnished.sh("rm /run/netctl/filler")
    assert quick_netctl(furnished, "apply", "-q", file)[0].status == 0
    assert quick_netctl(furnished, "diff", file)[0].status == 0
