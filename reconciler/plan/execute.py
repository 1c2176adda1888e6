"""The executor: it runs the batches of a plan on a host. It does not know what a batch does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.plan.order import Batch
from reconciler.state.ref import Ref
from reconciler.state.steps.step import RefusedError, StepError


class BatchRunner(Protocol):
    """An object that can execute batches."""

    def run(self, batch: Batch) -> None:
        """Execute the whole batch. StepError at the first step that is rejected; other steps may have been executed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution stopped early: the record of the failed step, or None if it was cancelled, and a sentence.

    `refused`: the kernel rejected the step because of the state of the host.
    """

    ref: Ref | None
    message: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an execution: the steps known to be done, and the reason if it stopped early."""

    steps_done: int
    failure: Failure | None = None


ReportProgress = Callable[[int, int], None]
"""A callback after each batch: the number of finished steps, and of all."""


def never() -> bool:
    """False: the default of `cancelled`, if no caller can cancel."""
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
    """The record of the failed step; that of the batch's first step if a whole transaction was rejected."""
    for step, ref in zip(batch.steps, batch.refs, strict=True):
        if step is error.step or step == error.step:
            return ref
    return batch.refs[0]
