from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd
from tests.harness.machine import Machine
from tests.harness.worlds.compose import ComposeWorld, machine_with_docker


@pytest.fixture(scope="module")
def machine_and_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Dockerd]]:
    """A machine of the module's own with a dockerd."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    with machine_with_docker(tmp_path_factory.mktemp("machine")) as found:
        yield found


@pytest.fixture
def project(
    machine_and_docker: tuple[Machine, Dockerd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ComposeWorld]:
    """A folder for a project. At the end its topology is destroyed, and the engine is empty."""
    machine, daemon = machine_and_docker
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    world = ComposeWorld(machine, daemon, tmp_path)
    yield world
    world.end()
