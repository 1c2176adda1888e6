"""Starts: containers of another program that have a process, but run their own program only when netctl has connected them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["wired", "other", "refused"]
"""The answer to a start: it has its network; it is none of the topology; the topology cannot connect it, whatever comes."""


@dataclass(frozen=True, slots=True)
class WaitingStart:
    """A start that waits: the engine's names of the container, its first process, and when that began (proc_pid_stat(5))."""

    identity: str
    engine_name: str
    pid: int
    began: int
    hook: int = 0
    """The process that waits."""


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """What a topology answers to a start; `reason` says why it refuses."""

    start: WaitingStart
    word: Word
    reason: str = ""
