"""The steps of names, in order: each run of one sort goes out together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from reconciler.kernel.context import KernelContext
from reconciler.kernel.names.resolv_confs import delete_resolv_confs, write_resolv_confs
from reconciler.kernel.names.resolvers import run_resolver_step, write_names
from reconciler.state.steps.names import NamesWrite, ResolvConfDelete, ResolvConfWrite
from reconciler.state.steps.step import Step


def run_name_steps(context: KernelContext, steps: Sequence[Step]) -> None:
    """Execute the steps of a batch. StepError."""
    for _, group in groupby(steps, type):
        together = list(group)
        write_names(context, [step for step in together if isinstance(step, NamesWrite)])
        write_resolv_confs(context, [step for step in together if isinstance(step, ResolvConfWrite)])
        delete_resolv_confs(context, [step for step in together if isinstance(step, ResolvConfDelete)])
        for step in together:
            run_resolver_step(context, step)
