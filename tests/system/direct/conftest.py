"""Hosts on a physical LAN (see `lan`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.worlds.lan import build_lan


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with an uplink on a LAN."""
    for name in ("root", "nft", "ping"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("host"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        yield machine
    finally:
        machine.end()
