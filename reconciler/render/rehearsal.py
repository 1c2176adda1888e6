"""The document of `rehearse --json`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.render.verify import VerifyDocument

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class RehearsalDocument:
    """A rehearsal: what the lab has in place of the file's, the changes of the apply, and the results of the verification.

    `passed` says whether every probe is as the file says.
    """

    format_version: int
    topology: str
    passed: bool
    notes: tuple[str, ...]
    changes: int
    elapsed_s: float
    verify: VerifyDocument
