"""The agent's side of `cli.ask`: the text that `netctl diff` would print, from a reading that begins after the question."""

from __future__ import annotations

import argparse
import contextlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.kernel.run_directory.agent_socket import Answer, Question

if TYPE_CHECKING:
    from reconciler.agent.cycle import Keeper


class _Recorder(io.TextIOBase):
    """A stream that keeps what is written to it, beside what is written to another one."""

    def __init__(self, descriptor: int, texts: list[tuple[int, str]], *, has_colour: bool) -> None:
        self._descriptor = descriptor
        self._texts = texts
        self.has_colour = has_colour
        """Instead of whether it is a terminal: the command's own stream may be one."""

    def write(self, text: str) -> int:
        self._texts.append((self._descriptor, text))
        return len(text)


def answer_diff(question: Question, keeper: Keeper) -> Answer | None:
    """What `netctl diff` prints; None if the command must find out by itself. NetctlError if the hosts cannot be read."""
    from reconciler.cli.common import Job, dropped_targets, plan_job
    from reconciler.cli.diff import show
    from reconciler.fleet.peers import Dropped, find_dropped
    from reconciler.fleet.target import peers_of, targets_of

    if keeper.topology.env_files:
        return None  # the question names the content of the file alone
    held = {target.host: target for target in keeper.targets}
    wanted = (*targets_of(keeper.topology), *dropped_targets(keeper.topology))
    if any(target.ssh for target in wanted) or held != {target.host: target for target in wanted}:
        return None
    options = argparse.Namespace(
        json=question.json, verbose=question.verbose, show_secrets=question.show_secrets, commands=False, plan=None
    )
    texts: list[tuple[int, str]] = []
    out, err = (_Recorder(number, texts, has_colour=has) for number, has in zip((1, 2), question.has_colour, strict=True))
    with keeper.workers() as fleet, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if find_dropped(keeper.topology.name, peers_of(keeper.topology), fleet) != Dropped():
            return None
        facts = fleet.read(lock=False)
        desired = keeper.compile(facts)
        job = Job(replace(desired.topology, path=question.file), fleet, facts, desired, {}, {})
        plans = plan_job(job, document=question.json)
        fleet.prepare()
        status = show(options, job, plans, fleet.targets)
        # What another netctl is doing may look like drift: the command then says so.
        is_disturbed = bool(fleet.find_disturbances())
    return None if is_disturbed else Answer(tuple(texts), status)
