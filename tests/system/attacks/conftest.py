"""The world of the attacks on lab hosts: one topology for each test file, applied once, and an undeclared neighbour."""

from __future__ import annotations

from tests.system.overlay.conftest import rogue, spread, world

__all__ = ["rogue", "spread", "world"]
