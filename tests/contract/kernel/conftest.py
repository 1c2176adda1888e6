"""A host of the test's own: a namespace that stands for the machine, and what netctl would use on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces
from tests.harness.netns import Namespace
from tests.harness.worlds.kernel import KernelWorld


@pytest.fixture
def world(namespace: Namespace, topology_name: str, tmp_path: Path) -> Iterator[KernelWorld]:
    context = KernelContext(topology_name, "local", run_directory=tmp_path / "run", own_netns=str(namespace.path))
    namespaces = Namespaces(context)
    yield KernelWorld(namespace, context, namespaces, KernelHost(namespaces))
    namespaces.close()


@pytest.fixture
def topology(topology_name: str) -> str:
    """A name that no other test uses; what bears it is gone after the test."""
    return topology_name


@pytest.fixture
def context(topology: str, tmp_path: Path) -> KernelContext:
    """Of the local host, with a directory of its own instead of /run/netctl, and no engine."""
    engines = tuple((runtime, f"unix://{tmp_path}/none.sock") for runtime in ("docker", "podman"))
    return KernelContext(topology, "local", run_directory=tmp_path / "run", engines=engines)
