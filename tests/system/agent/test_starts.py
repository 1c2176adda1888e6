"""Containers that start only with their network, beside an agent and a real dockerd."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.worlds.starts import StartsWorld, starts_world

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartsWorld]:
    """A machine with the hook."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    with starts_world(tmp_path_factory.mktemp("starts")) as found:
        yield found


@pytest.fixture
def world(module_world: StartsWorld) -> Iterator[StartsWorld]:
    """The same; at the end nothing is left in it."""
    yield module_world
    module_world.end()


def test_network_at_the_first_instruction(world: StartsWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """At each start, restart and crash, the program's first instructions see its address, its route and its carrier."""
    agent = world.agent().wait_ready()
    begun_s = time.monotonic()
    world.run("shop-web-1", "--restart", "always", *world.member(1), command="sleep 1")
    took_s = time.monotonic() - begun_s
    world.run("named")
    world.wait_started("named", 1)
    world.daemon.docker("restart", "--time", "0", "named")
    world.wait_started("named", 2)
    world.daemon.docker("kill", "named")
    world.daemon.docker("start", "named")
    world.wait_started("named", 3)
    world.wait_started("shop-web-1", 3)
    assert "10.44.0.10/24" in world.daemon.docker("logs", "named")
    world.daemon.docker("rm", "--force", "shop-web-1")
    agent.wait_for(lambda _: quick_netctl(world.machine, "diff", world.file)[0].status == 0)
    with capsys.disabled():
        print(f"\nagent: a container was run and wired in {took_s:.2f} s")
