"""Worlds for the tests of overlays: one topology for each test file, applied once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.names import draw_name, remove_leftovers
from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace
from tests.harness.worlds.overlay import LabWorld, attach_rogue

LOCKED = 7
"""The exit status if another netctl is at work."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabWorld]:
    """An empty topology under a name of its own. Whatever it becomes is destroyed, by netctl, and nothing of it is left."""
    for capability in ("root", "ping", "nft"):
        require_capability(capability)
    name = draw_name()
    made = LabWorld(name, tmp_path_factory.mktemp("overlay") / "topology.yaml")
    try:
        yield made
        if made.file.exists():
            # By name it looks at the machine itself, too, whose lock another test may have at the moment.
            for _ in range(20):
                done = run_netctl("destroy", "--name", name)
                if done.status != LOCKED:
                    break
                time.sleep(0.5)
            assert done.status == 0, done.err
    finally:
        remove_leftovers(name)


@pytest.fixture(scope="module")
def spread(world: LabWorld, request: pytest.FixtureRequest) -> LabWorld:
    """The topology of the test file (`TEXT`), applied."""
    world.apply(request.module.TEXT)
    return world


@pytest.fixture
def rogue(spread: LabWorld) -> Iterator[Namespace]:
    """A node on the hosts' segment that the file does not declare."""
    node = attach_rogue(spread, "s-192.0.2.0", "192.0.2.99/24")
    yield node
    spread.inside("lab.router").run("ip", "link", "delete", "rogue")
    subprocess.run(["ip", "netns", "delete", node.name], check=True)
