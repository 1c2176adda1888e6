"""The worlds of the firewall's tests (see `tests.harness.fixtures.firewall`)."""

from __future__ import annotations

from tests.harness.fixtures.firewall import bare_world, world

__all__ = ["bare_world", "world"]
