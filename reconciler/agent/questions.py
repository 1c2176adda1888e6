"""The questions of commands: the agent answers them between two cycles, if it holds all that a question is about.

A question that is not answered costs the command nothing but the time to ask: it then does its work by itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.agent.cycle import Keeper
from reconciler.kernel.events.source import Cause
from reconciler.kernel.run_directory.agent_socket import PROGRAM, AgentSocket, Answer, Question, read_namespaces

Reply = Callable[[Question, Keeper], Answer | None]
"""Answers a question from a reading of its own; None if the command has to find out by itself. It may raise any error."""


class QuestionEvents:
    """The socket as a source of `kernel.events.hints`. A question stays in it until the loop takes it."""

    cause = Cause.QUESTION

    def __init__(self, path: Path, desk: Desk) -> None:
        """OSError if there can be no socket."""
        self._socket = AgentSocket(path)
        self._desk = desk
        desk.socket = self._socket

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """It leaves the questions in the socket."""
        return True

    def close(self) -> None:
        """Close the socket."""
        self._desk.socket = None
        self._socket.close()


@dataclass(slots=True)
class Desk:
    """Where questions are answered."""

    reply: Reply
    digest: str = ""
    """The SHA-256 of the file that the agent follows."""
    socket: AgentSocket | None = None
    _namespaces: tuple[tuple[int, int], ...] = field(default_factory=read_namespaces)

    def open(self, path: Path) -> QuestionEvents:
        """A source of questions. OSError if there can be none."""
        return QuestionEvents(path, self)

    def answer_all(self, keeper: Keeper, *, is_open: bool) -> bool:
        """Take all questions, and answer them if the desk `is_open`; whether one was answered.

        The connection of a question that is not answered is closed.
        """
        has_answered = False
        for asked in self.socket.take() if self.socket else ():
            if not (is_open and self._understands(asked.question) and asked.accept()):
                continue
            answer = None
            # The command meets the same error, or the same defect, and reports it.
            with contextlib.suppress(Exception):
                answer = self.reply(asked.question, keeper)
            if answer:
                has_answered = True
                asked.answer(answer)
        return has_answered

    def _understands(self, question: Question) -> bool:
        """Whether the question is about the file that the agent follows, by the same program, in the same world."""
        is_same_world = (question.namespaces, question.docker) == (self._namespaces, os.environ.get("DOCKER_HOST", ""))
        return is_same_world and (question.program, question.digest) == (PROGRAM, self.digest)
