"""Worlds to probe in (see `world`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.probes.run import Prober
from tests.harness.worlds.probes import Make, World


@pytest.fixture
def world(make_namespace: Make) -> World:
    return World(make_namespace)


@pytest.fixture
def prober(world: World) -> Iterator[Prober]:
    made = Prober(world.path, world.topology)
    yield made
    made.stop()
