"""What every step has, and the error of one that the host refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in one namespace."""

    lane: ClassVar[str]
    netns: str

    def masked(self) -> Self:
        """The same for printing: without the values of environment variables."""
        return self


class StepError(Exception):
    """A step that the host refused: which one, and why in one sentence."""

    def __init__(self, step: Step, message: str) -> None:
        """`message` is the host's own word, made readable."""
        super().__init__(message)
        self.step = step
        self.message = message


class RefusedError(StepError):
    """A step that the kernel refused for the state in which it met things, as whoever has root there may have made it."""
