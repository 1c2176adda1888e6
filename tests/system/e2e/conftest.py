"""Machines of the tests' own."""

from tests.harness.fixtures.machine import furnished, machine

__all__ = ["furnished", "machine"]
