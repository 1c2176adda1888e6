from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.firewall.world import World


@pytest.fixture(scope="session", params=["br_netfilter", "plain", "docker"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One world for all tests, which leave the firewall as they found it; in three flavours.

    With bridged frames shown to iptables, as new namespaces have it; without; and with a forward chain that drops, as Docker
    makes it.
    """
    made = World()
    try:
        made.make()
        if request.param == "plain":
            made.hide_bridged_frames()
        if request.param == "docker":
            made.add_docker_chains()
        yield made
    finally:
        made.unmake()


@pytest.fixture
def bare_world() -> Iterator[World]:
    """A world of one test's own, with a host namespace and nothing in it."""
    made = World(members=False)
    try:
        made.make_namespaces()
        yield made
    finally:
        made.unmake()
