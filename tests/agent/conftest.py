"""Machines of the tests' own (see `tests/e2e/machine.py`), and an agent that runs in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.running import RunningAgent
from tests.e2e.conftest import furnished, machine  # noqa: F401
from tests.e2e.machine import Machine
from tests.e2e.worlds import LOCAL, write


@pytest.fixture
def file(furnished: Machine) -> Path:  # noqa: F811  a fixture
    """A topology of one local host, which is not applied yet."""
    return write(furnished, LOCAL)


@pytest.fixture
def agent(furnished: Machine, file: Path) -> RunningAgent:  # noqa: F811
    """An agent that holds it, and is ready. It ends with its machine."""
    return RunningAgent.start(furnished, file).wait_ready()
