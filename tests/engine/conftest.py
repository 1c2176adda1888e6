"""What the tests of this directory share: one dockerd for all of them, and a context with directories of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from tests.dockerd import Dockerd, running_dockerd


@pytest.fixture(scope="session")
def dockerd_of_session() -> Iterator[Dockerd]:
    """A daemon for all tests."""
    with running_dockerd() as daemon:
        yield daemon


@pytest.fixture
def dockerd(dockerd_of_session: Dockerd) -> Iterator[Dockerd]:
    """The daemon, without containers before and after."""
    dockerd_of_session.remove_all()
    yield dockerd_of_session
    dockerd_of_session.remove_all()


@pytest.fixture
def topology(topology_name: str) -> str:
    """A name that no other test uses; what bears it is gone after the test."""
    return topology_name


@pytest.fixture
def context(topology: str, tmp_path: Path) -> KernelContext:
    """Of the local host, with a directory of its own instead of /run/netctl, and no engine."""
    engines = tuple((runtime, f"unix://{tmp_path}/none.sock") for runtime in ("docker", "podman"))
    return KernelContext(topology, "local", run_directory=tmp_path / "run", engines=engines)
