"""Machines of the tests' own (see `machine`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.topologies.local import furnish


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a loopback and nothing else; /run/netns is there, as `ip netns` leaves it."""
    require_capability("root")
    require_capability("nft")
    made = Machine.make(tmp_path_factory.mktemp("machine"))
    try:
        made.sh("ip netns add x; ip netns delete x")
        yield made
    finally:
        made.end()


@pytest.fixture
def furnished(machine: Machine) -> Machine:
    """A machine with an uplink, and with things of others."""
    furnish(machine)
    return machine
