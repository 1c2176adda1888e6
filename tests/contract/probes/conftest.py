"""Worlds to probe in (see `world`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.probes.run import Prober
from tests.harness.worlds.probes import Make, ProbeWorld


@pytest.fixture
def world(make_namespace: Make) -> ProbeWorld:
    return ProbeWorld(make_namespace)


@pytest.fixture
def prober(world: ProbeWorld) -> Iterator[Prober]:
    made = Prober(world.path, world.topology)
    yield made
    made.stop()
