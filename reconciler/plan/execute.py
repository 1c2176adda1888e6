"""The executor: walks the batches of a plan through a host. Nothing here knows what a batch does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.plan.order import Batch
from reconciler.state.ref import Ref
from reconciler.state.steps.step import RefusedError, StepError


class BatchRunner(Protocol):
    """Whatever can carry out batches."""

    def run(self, batch: Batch) -> None:
        """Carry out the batch, all of it. StepError at the first step that is refused; others of it may have been done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution stopped short: the step's thing, or None where it was cancelled, and a sentence.

    `refused`: it was the kernel that did not want the step, as it met things.
    """

    ref: Ref | None
    message: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution did: the steps known to be done, and why it stopped, where it did."""

    steps_done: int
    failure: Failure | None = None


ReportProgress = Callable[[int, int], None]
"""Told, after each batch, how many steps are done, and of how many."""


def never() -> bool:
    """The answer to "cancelled?" where nobody can."""
    return False


def execute_batches(
    host: BatchRunner, batches: tuple[Batch, ...], progress: ReportProgress, cancelled: Callable[[], bool] = never
) -> Outcome:
    """Carry out the batches in order, until one fails or `cancelled()` says so between two of them."""
    total = sum(len(batch.steps) for batch in batches)
    done = 0
    for batch in batches:
        if cancelled():
            return Outcome(done, Failure(None, "stopped by the user"))
        try:
            host.run(batch)
        except StepError as error:
            return Outcome(done, Failure(_ref_of(batch, error), error.message, isinstance(error, RefusedError)))
        done += len(batch.steps)
        progress(done, total)
    return Outcome(done)


def _ref_of(batch: Batch, error: StepError) -> Ref:
    """The thing that the failed step belongs to; the first of the batch where a whole transaction was refused."""
    for step, ref in zip(batch.steps, batch.refs, strict=True):
        if step is error.step or step == error.step:
            return ref
    return batch.refs[0]
