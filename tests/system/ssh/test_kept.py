"""Connections that are lost at the end of an apply, when all is made and hosts get the keep request: each moment of that.

In each, both hosts come to rest in one and the same state, and what is reported is what they have.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import SshWorld, wait_for
from tests.system.ssh.test_lost import end, is_empty, log_of

pytestmark = pytest.mark.kernel
Write = Callable[..., Path]
TIMEOUT_S = 30.0


@contextlib.contextmanager
def paused(world: SshWorld, path: Path, moment: str, verb: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that stands still where `verb` is said to beta (see `faults.paused`); it goes on at the end of the block."""
    signs = [world.folder / "paused", world.folder / "go-on"]
    for sign in signs:
        sign.unlink(missing_ok=True)
    program = ("-m", "tests.harness.faults.paused", str(world.folder), moment, verb, "beta")
    process = world.start_netctl("apply", *options, path, program=program)
    try:
        wait_for(lambda: signs[0].exists() or process.poll() is not None, timeout_s=TIMEOUT_S)
        yield process
    finally:
        signs[1].touch()


def hang_up(world: SshWorld, host: str) -> None:
    """End the connections to the host, as seen from the controller."""
    controller = world.machines["controller"]
    for pid in controller.pids(f"^ssh .* {host}"):
        controller.run("kill", "-9", str(pid))


def is_whole(world: SshWorld, path: Path) -> bool:
    """All is there, nothing more is to be done, and no worker is left at it."""
    told = world.netctl("status", path)
    return told.status == 0 and not world.machines["beta"].pids("import io;exec")


def test_lost_before_the_keep_request(world: SshWorld, shop: Path) -> None:
    """All is made and confirmed, and the other host may have got the keep request, when one is lost and cannot be reached.

    It rolls back by itself, and the other is rolled back. Status 5 says which one got no request, and nothing is left anywhere.
    """
    with paused(world, shop, "before", "keep") as process:
        assert "db" in str(world.machines["beta"].files())
        world.stop_serving("beta")
        hang_up(world, "beta")
        wait_for(lambda: "rolled back" in log_of(world, "beta"), timeout_s=TIMEOUT_S)
    done = end(process)
    assert done.status == 5, done.err
    assert "every host that can be reached is as it was before, and not beta: ssh://root@beta: nothing listens" in done.err
    assert "unknown whether beta was asked in time to keep the change" in done.err
    assert is_empty(world, "alpha")
    assert is_empty(world, "beta")
    world.serve("beta")
    assert world.netctl("apply", shop).status == 0
    assert is_whole(world, shop)


def test_lost_before_its_answer_arrives(world: SshWorld, shop: Path) -> None:
    """A host got the keep request, but its answer is not read: it is rolled back over a new connection. Status 4."""
    with paused(world, shop, "unheard", "keep") as process:
        assert "db" in str(world.machines["beta"].files())
    done = end(process)
    assert done.status == 4, done.err
    assert "every host is as it was before" in done.err
    assert is_empty(world, "alpha")
    assert is_empty(world, "beta")
    assert log_of(world, "beta").splitlines()[-1].endswith("the controller rolls this host back over a new connection")


def test_lost_after_the_keep_request(world: SshWorld, shop: Path) -> None:
    """All hosts got the keep request, and then one hangs up: all keep the change. Status 0, and a warning about the loss."""
    with paused(world, shop, "after", "keep") as process:
        hang_up(world, "beta")
        wait_for(lambda: "keeping the change" in log_of(world, "beta"), timeout_s=TIMEOUT_S)
    done = end(process)
    assert done.status == 0, done.err
    assert "warning: beta lost its connection at the end: it keeps the change" in done.err
    assert is_whole(world, shop)


def test_a_controller_that_is_killed_after_all_keep_requests(world: SshWorld, shop: Path) -> None:
    """One host hears no more that it is over; both keep the change."""
    with paused(world, shop, "before", "commit") as process:
        controller = world.machines["controller"]
        for pid in controller.pids("tests.harness.faults.paused"):
            controller.run("kill", "-9", str(pid))
        process.communicate()
        wait_for(lambda: "keeping the change" in log_of(world, "beta"), timeout_s=TIMEOUT_S)
    assert is_whole(world, shop)
