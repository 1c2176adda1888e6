"""The document that a command with `--json` prints if it ends with an error: `schemas/error.schema.json`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.errors import NetctlError, TopologyError
from reconciler.render.errors import SHOWN_FAULTS
from reconciler.render.validation import ListedFault, list_faults
from reconciler.state.listed import listed

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error: what is wrong, what to do, and the exit status."""

    message: str
    help: str
    exit_status: int
    path: str = ""
    """The file that has the faults."""
    faults: tuple[ListedFault, ...] = listed()
    """The first fifty faults of a file."""


@dataclass(frozen=True, slots=True)
class RefusalDocument:
    """What is printed in place of a command's own document."""

    format_version: int
    error: ErrorReport


def compile_refusal(error: NetctlError, exit_status: int) -> RefusalDocument:
    """The document of an error."""
    faults, path = (error.faults, error.path) if isinstance(error, TopologyError) else ((), "")
    refusal = ErrorReport(error.message, error.help_text, exit_status, path, list_faults(faults[:SHOWN_FAULTS]))
    return RefusalDocument(FORMAT_VERSION, refusal)
