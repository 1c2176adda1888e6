"""The interface of every step, and the error of a rejected one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.state.shell import HostShell


@dataclass(frozen=True, slots=True)
class Step:
    """One operation in one namespace."""

    backend: ClassVar[str]
    netns: str

    def __init_subclass__(cls) -> None:
        """Raise TypeError for a class of step without command lines: `diff --commands` prints every step.

        `abc.ABC` would do the same, but its isinstance takes four times as long, and each `match` on steps would pay
        for it.
        """
        if cls.commands is Step.commands:
            raise TypeError(f"{cls.__name__} does not define `commands`")

    def commands(self, shell: HostShell) -> Iterator[str]:
        """The command lines that do the same with an administrator's usual tools."""
        raise NotImplementedError

    @classmethod
    def commands_of(cls, steps: Sequence[Self], shell: HostShell) -> Iterator[str]:
        """The command lines of consecutive steps of this class in one namespace."""
        for step in steps:
            yield from step.commands(shell)

    def shell_functions(self, _shell: HostShell) -> Iterator[str]:
        """The shell functions that its command lines call. A script defines each of them once."""
        yield from ()

    def masked(self) -> Self:
        """The same for printing, without the values of environment variables."""
        return self


class StepError(Exception):
    """An error of a step that the host rejected: the step, and the reason in one sentence."""

    def __init__(self, step: Step, message: str) -> None:
        """`message` is the host's own text, made readable."""
        super().__init__(message)
        self.step = step
        self.message = message


class RefusedError(StepError):
    """A step that the kernel rejected because of the state of the host, which any root user there may have caused."""
