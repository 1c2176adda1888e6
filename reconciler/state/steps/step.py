"""What every step has, and the error of one that the host refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.state.shell import HostShell


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in one namespace."""

    backend: ClassVar[str]
    netns: str

    def __init_subclass__(cls) -> None:
        """TypeError for a class of step without command lines: `diff --commands` prints every step there is.

        In place of `abc.ABC`, whose isinstance takes four times as long: each `match` on steps would pay for it.
        """
        if cls.commands is Step.commands:
            raise TypeError(f"{cls.__name__} does not define `commands`")

    def commands(self, shell: HostShell) -> Iterator[str]:
        """The command lines that do the same, with the tools that an administrator would use."""
        raise NotImplementedError

    @classmethod
    def commands_of(cls, steps: Sequence[Self], shell: HostShell) -> Iterator[str]:
        """The command lines of steps of this class that follow each other in one namespace."""
        for step in steps:
            yield from step.commands(shell)

    def shell_functions(self, _shell: HostShell) -> Iterator[str]:
        """The shell functions that its command lines call. A script defines each of them once."""
        yield from ()

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
