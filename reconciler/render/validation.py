"""The document of `validate --json`: the faults of a file, and its parts without effect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.errors import Fault
from reconciler.state.listed import listed

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ListedFault:
    """A fault or a warning: its line and column, both from 1, and what to write."""

    line: int
    column: int
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class ValidationDocument:
    """What is known of a file; `count` is the number of its faults, of which `faults` has the first fifty."""

    format_version: int
    path: str
    valid: bool
    topology: str
    """Empty if the file is not valid."""
    count: int
    faults: tuple[ListedFault, ...] = listed()
    warnings: tuple[ListedFault, ...] = listed()


def list_faults(faults: Iterable[Fault]) -> tuple[ListedFault, ...]:
    """Faults as the document has them."""
    return tuple(ListedFault(*fault.position, fault.message, fault.help_text) for fault in faults)
