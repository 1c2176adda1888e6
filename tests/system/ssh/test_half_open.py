"""A network that vanishes without a word, so that each end of a connection takes the other for alive: both end in bounded time.

In mid-apply it is `test_lost.test_a_cable_that_is_pulled`; what each end does by itself is in tests/unit/fleet/test_silence.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import SshWorld, wait_for
from tests.system.ssh.test_kept import paused
from tests.system.ssh.test_lost import end, is_empty

pytestmark = pytest.mark.kernel
Write = Callable[..., Path]
PATIENCE_S = 5
WORKER = "import io;exec"


def test_gone_before_anything_was_touched(world: SshWorld, shop: Path) -> None:
    """Status 3 and a sentence; the worker on that host ends by itself; when the network is back, the next apply does all."""
    with paused(world, shop, "before", "plan", "--rollback-after", str(PATIENCE_S)) as process:
        world.cut("beta")
        begun = time.monotonic()
    done = end(process)
    assert time.monotonic() - begun < 20
    assert done.status == 3, done.err
    assert "beta: the connection to beta was lost: Timeout, server 192.0.2.12 not responding\n" in done.err
    assert "run netctl again when the host can be reached" in done.err
    wait_for(lambda: not world.machines["beta"].pids(WORKER), timeout_s=PATIENCE_S + 10)
    for host in ("alpha", "beta"):
        assert is_empty(world, host)
    world.repair("beta")
    assert world.netctl("apply", shop).status == 0


def test_gone_for_a_moment_in_mid_apply(world: SshWorld, shop: Path) -> None:
    """A network that is back before either end has given up costs time and nothing else: status 0."""
    with paused(world, shop, "before", "apply") as process:
        world.cut("beta")
    time.sleep(2)
    world.repair("beta")
    done = end(process)
    assert done.status == 0, done.err
    assert world.netctl("diff", shop).status == 0
