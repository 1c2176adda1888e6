"""Connections that are lost in the middle of an apply: every machine comes to rest as a whole, by itself where it has to.

The middle is held by a lock on beta's /run/netns, for which beta's worker waits, as `ip netns add` would make it wait. By
then alpha has done all that it has to do, and nothing is committed.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.netctl import Outcome
from tests.harness.worlds.ssh import SshWorld, wait_for

pytestmark = pytest.mark.kernel
Write = Callable[..., Path]


@contextlib.contextmanager
def held(world: SshWorld, path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that is held on beta when alpha is done; it goes on at the end of the block."""
    beta, alpha = world.machines["beta"], world.machines["alpha"]
    holder = subprocess.Popen(beta.enter("flock", "/run/netns", "sleep", "1000"))
    try:
        wait_for(lambda: beta.run("flock", "-n", "/run/netns", "true", check=False).returncode == 1)
        process = world.start_netctl("apply", *options, path)
        wait_for(lambda: process.poll() is not None or len(alpha.pids("sleep infinity")) > 1)
        if process.poll() is not None:
            pytest.fail(f"it was not held: {process.communicate()}")
        yield process
    finally:
        release(world)
        holder.wait()


def release(world: SshWorld) -> None:
    """Let beta's worker go on."""
    for pid in world.machines["beta"].pids("^sleep 1000"):
        world.machines["beta"].run("kill", str(pid), check=False)


def end(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return Outcome(process.returncode, out, err)


def log_of(world: SshWorld, host: str) -> str:
    return world.machines[host].run("cat", f"/run/netctl/local/{world.name}.log", check=False).stdout


def is_empty(world: SshWorld, host: str) -> bool:
    """Nothing of the topology but the log."""
    machine = world.machines[host]
    tables = machine.run("nft", "list", "tables").stdout
    files = {path for path in machine.files() if path not in ("/run/netctl/local", "/run/netctl/.worker")}
    links = machine.run("ls", "/sys/class/net").stdout.split()
    return files <= {f"/run/netctl/local/{world.name}.log"} and world.name not in tables and sorted(links) == ["eth0", "lo"]


def test_a_connection_that_ends(world: SshWorld, shop: Path) -> None:
    """The ssh client of alpha is killed: alpha rolls back what it did at once; the apply rolls back beta, and ends with 4."""
    with held(world, shop) as process:
        controller = world.machines["controller"]
        for pid in controller.pids("^ssh .* alpha"):
            controller.run("kill", "-9", str(pid))
        wait_for(lambda: "rolled back" in log_of(world, "alpha"))
        assert is_empty(world, "alpha")
    done = end(process)
    assert done.status == 4, done.err
    assert "the connection to alpha was lost" in done.err
    assert "every host is as it was before" in done.err
    assert is_empty(world, "alpha")
    assert is_empty(world, "beta")
    assert world.netctl("apply", shop).status == 0
    assert log_of(world, "alpha") == "", "an apply that succeeds has no use for it"


def test_a_cable_that_is_pulled(world: SshWorld, shop: Path) -> None:
    """Alpha is silent, and rolls back by itself after the time given; the controller rolls back the rest: status 5.

    When the cable is back, everything goes on.
    """
    with held(world, shop, "--rollback-after", "5") as process:
        world.cut("alpha")
        wait_for(lambda: "rolled back" in log_of(world, "alpha"), timeout_s=15)
    done = end(process)
    assert done.status == 5, done.err
    assert "every host that can be reached is as it was before" in done.err
    assert "alpha rolls back within 5 s of the loss" in done.err
    assert is_empty(world, "alpha")
    assert is_empty(world, "beta")
    assert "lost the controller during an apply" in log_of(world, "alpha")
    world.repair("alpha")
    assert world.netctl("apply", shop).status == 0


def test_a_machine_that_refuses_new_logins(world: SshWorld, shop: Path) -> None:
    """After the apply no new connection to alpha can be made: it is not kept, though the old connection lives. Status 4."""
    with held(world, shop) as process:
        world.stop_serving("alpha")
    done = end(process)
    assert done.status == 4, done.err
    assert "ssh://root@alpha: nothing listens at its ssh port" in done.err
    assert is_empty(world, "alpha")
    assert is_empty(world, "beta")


def test_a_controller_that_is_killed(world: SshWorld, shop: Path) -> None:
    """Both machines roll back by themselves. One that still is at it does not hinder: the next apply takes its place at once."""
    beta = world.machines["beta"]
    with held(world, shop) as process:
        controller = world.machines["controller"]
        for pid in controller.pids("-m reconciler apply"):
            controller.run("kill", "-9", str(pid), check=False)
        process.communicate()
        wait_for(lambda: "rolled back" in log_of(world, "alpha"))
        orphan = beta.pids("import io;exec")
        assert orphan
        second = world.start_netctl("apply", shop)
        wait_for(lambda: not set(orphan) & set(beta.pids("import io;exec")))
    done = end(second)
    assert done.status == 0, done.err
    assert world.netctl("diff", shop).status == 0


def test_an_interrupt_rolls_back_in_order(world: SshWorld, shop: Path) -> None:
    """Ctrl-C reaches netctl and not its connections, by which it rolls back what was done: status 4, and no log on the hosts."""
    with held(world, shop) as process:
        controller = world.machines["controller"]
        for pid in (*controller.pids("-m reconciler apply"), *controller.pids("^ssh ")):
            group = controller.run("ps", "-o", "sid=", "-p", str(pid)).stdout.strip()
            if group != str(pid):  # a terminal signals its foreground group; ssh leads a session of its own
                controller.run("kill", "-INT", str(pid), check=False)
        time.sleep(1)  # the wish to stop has to reach beta before beta can go on
    done = end(process)
    assert done.status == 4, done.err
    assert "stopped by the user; every host is as it was before" in done.err
    for host in ("alpha", "beta"):
        assert is_empty(world, host)
        assert log_of(world, host) == ""


def test_a_live_controller_is_left_alone(world: SshWorld, shop: Path) -> None:
    """While one is at work, a second reports which, and from where: status 7."""
    with held(world, shop) as process:
        begun = time.monotonic()
        second = world.netctl("apply", shop)
        assert time.monotonic() - begun < 30
        assert second.status == 7, second.err
        assert "another netctl is at work on this host" in second.err
        assert f"(netctl apply {shop}, from " in second.err
    assert end(process).status == 0
