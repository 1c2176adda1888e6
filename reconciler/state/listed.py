"""Lists in the documents that `--json` prints: a script finds each list even if it is empty."""

from __future__ import annotations

from dataclasses import field
from typing import Any

LISTED = "listed"
"""The key in a field's metadata."""


def listed() -> Any:
    """A field of a dataclass: a tuple, empty by default, that its JSON form always has."""
    return field(default=(), metadata={LISTED: True})
