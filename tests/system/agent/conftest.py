"""Machines of the tests' own (see `tests/harness/machine.py`), and an agent that runs in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.fixtures.machine import furnished, machine  # noqa: F401
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import LOCAL, write


@pytest.fixture
def file(furnished: Machine) -> Path:  # noqa: F811  a fixture
    """A topology of one local host, which is not applied yet."""
    return write(furnished, LOCAL)


@pytest.fixture
def agent(furnished: Machine, file: Path) -> RunningAgent:  # noqa: F811
    """An agent that holds it, and is ready. It ends with its machine."""
    return RunningAgent.start(furnished, file).wait_ready()
