"""What all tests have: fixtures for names and namespaces, which go away, and a look for leftovers at the end.

No test touches the machine's own network.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.harness import matrix_summary, names
from tests.harness.capabilities import require_capability
from tests.harness.document_summary import print_blocks_not_run
from tests.harness.fixtures.dockerd import dockerd, dockerd_of_session  # noqa: F401  one daemon for tests of two floors
from tests.harness.names import draw_name, remove_leftovers
from tests.harness.netns import Namespace

# The thousands of netctl that the tests start would each compile all modules: a third of the CPU time of a short one.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# On Debian 12, .ci/setup keeps Docker Compose 2 there.
if (_docker_config := Path(__file__).parent.parent / ".venv/docker-config/config.json").is_file():
    os.environ["DOCKER_CONFIG"] = str(_docker_config.parent)

settings.register_profile("netctl", deadline=None)  # no test is timed: the machine may be busy with other things
settings.load_profile("netctl")

_left_by_workers: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `kernel` needs root, one marked `docker` a dockerd of its own. No fixture has begun yet."""
    if item.get_closest_marker("kernel"):
        require_capability("root")
    if item.get_closest_marker("docker"):
        require_capability("dockerd")


@pytest.fixture
def topology_name() -> Iterator[str]:
    """A name for one test's topology; whatever bears it afterwards is removed, however the test ended."""
    require_capability("root")
    name = draw_name()
    yield name
    remove_leftovers(name)


@pytest.fixture
def make_namespace(topology_name: str) -> Callable[..., Namespace]:
    """Makes namespaces named after the test's topology: `make_namespace("outside")`; they go away with the test."""

    def make(suffix: str) -> Namespace:
        namespace = Namespace(f"{topology_name}.{suffix}")
        subprocess.run(["ip", "netns", "add", namespace.name], check=True)
        namespace.run("ip", "link", "set", "lo", "up")
        return namespace

    return make


@pytest.fixture
def namespace(make_namespace: Callable[..., Namespace]) -> Namespace:
    """One empty namespace, its loopback up."""
    return make_namespace("ns")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The session fails where anything of its names is left on the machine; it is removed all the same.

    Where tests run side by side, each worker looks for its own, and the session that started them says so.
    """
    found = [f"{line} ({name})" for name in names.drawn for line in names.read_leftovers(name)]
    for name in names.drawn if found else ():
        remove_leftovers(name)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leftovers"] = found
    elif found + _left_by_workers:
        print("".join(f"\nleft behind by the tests: {line}" for line in found + _left_by_workers))
        session.exitstatus = max(int(exitstatus), int(pytest.ExitCode.TESTS_FAILED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the reports of single tests add up to: the matrix of modes, and the blocks of documents that were not run."""
    matrix_summary.print_matrix(terminalreporter)
    print_blocks_not_run(terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist has ended: what it found."""
    _left_by_workers.extend(getattr(node, "workeroutput", {}).get("leftovers", ()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that starts a dockerd is a test on the real kernel. Long files begin first, and quick ones fill up the end.

    A file stays together, and keeps its order.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker("kernel")
        rank = 0 if item.get_closest_marker("long") else 1 if item.get_closest_marker("kernel") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])
