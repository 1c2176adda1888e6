"""Machines of the tests' own (see `tests/e2e/machine.py`)."""

from __future__ import annotations

from tests.e2e.conftest import furnished, machine  # noqa: F401
