"""The states of a worker between two requests, and what each of them knows.

    Idle ── plan ──> Planned ── arm ──> Armed ── keep ──> Kept ── commit ──> Idle
                        └───── rollback ──┴── rollback ─────┴──> RollingBack ── commit ──> Idle

A host on this machine is never armed: its worker ends with its controller, and `commit` follows `Planned`. If the controller is
lost, an armed worker rolls back, and one that was told to keep the change keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.state.host import HostState


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is planned, or all of it is committed."""

    words: ClassVar[str] = "nothing is planned"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan was made, and may have been carried out."""

    words: ClassVar[str] = "it is planned and not armed"
    before: HostState
    """What was live when the plan was made."""


@dataclass(frozen=True, slots=True)
class Armed:
    """A lost controller means that the host is restored to `before`."""

    words: ClassVar[str] = "it is armed and not kept"
    before: HostState
    token: str
    """What a second connection confirms."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A lost controller means that the change stays."""

    words: ClassVar[str] = "the change is kept"
    before: HostState


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The way back to `before` is the plan. Only an armed worker goes on with it when its controller is lost."""

    words: ClassVar[str] = "it is being rolled back"
    before: HostState
    armed: bool


WorkerState = Idle | Planned | Armed | Kept | RollingBack
