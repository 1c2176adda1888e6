"""The states of a worker between two requests, and the data of each state.

    Idle ── plan ──> Planned ── arm ──> Armed ── keep ──> Kept ── commit ──> Idle
                        └───── rollback ──┴── rollback ─────┴──> RollingBack ── commit ──> Idle

A host on this machine is never armed: its worker ends with its controller, and `commit` follows `Planned`. If the
controller is lost, an armed worker rolls back. One that has received `keep` keeps the change.
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
    """A plan exists, and may have been executed."""

    words: ClassVar[str] = "it is planned and not armed"
    before: HostState
    """The live state when the plan was compiled."""


@dataclass(frozen=True, slots=True)
class Armed:
    """If the controller is lost, the host is restored to `before`."""

    words: ClassVar[str] = "it is armed and not kept"
    before: HostState
    token: str
    """The token that a second connection confirms."""


@dataclass(frozen=True, slots=True)
class Kept:
    """If the controller is lost, the change stays."""

    words: ClassVar[str] = "the change is kept"
    before: HostState


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The plan is the rollback to `before`. Only an armed worker continues it after its controller is lost."""

    words: ClassVar[str] = "it is being rolled back"
    before: HostState
    armed: bool


WorkerState = Idle | Planned | Armed | Kept | RollingBack
