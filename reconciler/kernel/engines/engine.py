"""Container engines as netctl sees them: what one must be able to do, which one serves a runtime, and the steps of that backend.

Docker and Podman are served by `kernel.engines.docker`, LXC by `kernel.engines.lxc`; another engine is another class with
these methods. One that holds nothing of the topology, and of which its file names no container, costs one question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Protocol

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.docker import DockerEngine
from reconciler.kernel.engines.lxc import LxcEngine
from reconciler.kernel.run_directory.notes import read_engines, remove_engines, write_engines
from reconciler.state.engines import ENGINES
from reconciler.state.secrets import hide
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.steps.containers import ContainerCreate, ContainerPark, ContainerStart, ContainerStop
from reconciler.state.steps.step import Step, StepError

WORKERS = 32
"""Containers worked on at a time. An engine makes few at once, but those that take their ten seconds to stop only wait."""

Wanted = Mapping[str, Mapping[str, str]]
"""The runtimes of which the file names containers on the host; for each, those that somebody else runs: their names in both."""


class Engine(Protocol):
    """An engine, for one topology on one host. Each method raises HostError: a sentence, and what to do."""

    def holds_any(self) -> bool:
        """Whether it is there, and has containers of the topology, of any host, parked ones too."""

    def read_containers(self, existing: Mapping[str, str]) -> tuple[ContainerInfo, ...]:
        """The topology's containers, parked ones too, and the `existing` ones that are there (container to engine's name)."""

    def read_foreign(self) -> tuple[tuple[str, str], ...]:
        """Name and state of the containers that are not the topology's."""

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """Refuse what could not be carried out (an image that is missing), before anything is touched."""

    def create(self, step: ContainerCreate) -> int:
        """Make and start a container, or bring its parked twin back; the number of its first process."""

    def start(self, engine_name: str) -> int:
        """Start one of ours; the number of its first process."""

    def stop(self, engine_name: str) -> None:
        """Stop one of ours."""

    def park(self, engine_name: str) -> None:
        """Stop one of ours and rename it."""

    def remove_parked(self) -> None:
        """Remove all that is parked."""


@cache
def engine_of(context: KernelContext, runtime: str) -> Engine:
    """The engine that serves a runtime. HostError where this version has none."""
    if runtime not in ENGINES:
        raise HostError(f"no engine serves `runtime: {runtime}`", f"this version serves {', '.join(ENGINES)} and netns")
    if runtime == "lxc":
        return LxcEngine(context.topology, context.host_key, context.engine_url(runtime), context.machine_netns)
    return DockerEngine(runtime, context.topology, context.host_key, context.engine_url(runtime))


def read_containers(context: KernelContext, wanted: Wanted | None = None) -> tuple[ContainerInfo, ...]:
    """What the engines hold of the topology.

    An engine that is not running has nothing, and that is no fault unless it is wanted: where the file names containers of it.
    """
    wanted = wanted or {}
    found: list[ContainerInfo] = []
    for runtime in ENGINES:
        engine = engine_of(context, runtime)
        if runtime in wanted or engine.holds_any():
            found += engine.read_containers(wanted.get(runtime, {}))
    return tuple(found)


def check_containers(context: KernelContext, steps: Iterable[Step]) -> None:
    """For the worker, before an apply: HostError where a container among the steps cannot be made."""
    for runtime, creates in by_runtime(steps).items():
        engine_of(context, runtime).check(creates)


def by_runtime(steps: Iterable[Step]) -> dict[str, list[ContainerCreate]]:
    """The creations among the steps, by the runtime that is to serve them."""
    found: dict[str, list[ContainerCreate]] = {}
    for step in steps:
        if isinstance(step, ContainerCreate):
            found.setdefault(step.spec.runtime, []).append(step)
    return found


def remove_parked(context: KernelContext) -> None:
    """For the worker, when an apply has succeeded on every host or has been taken back on all: nobody needs them any more."""
    for runtime in ENGINES:
        engine = engine_of(context, runtime)
        if engine.holds_any():
            engine.remove_parked()
    if read_engines(context) and not read_containers(context):
        remove_engines(context)


def run_runtime_steps(context: KernelContext, steps: Sequence[Step]) -> dict[str, int]:
    """Carry out steps, those of one container in order, different containers side by side. StepError where one fails.

    Gives the first process of each container that was started, by the container's name in the topology.
    """
    from concurrent.futures import ThreadPoolExecutor

    if any(isinstance(step, ContainerCreate) for step in steps):
        write_engines(context)
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(step.netns, []).append(step)
    pids: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(groups) or 1)) as pool:
        futures = [(netns, pool.submit(run_in_order, context, group)) for netns, group in groups.items()]
    # All are done by now: what one container's failure leaves is known when it is reported.
    for netns, future in futures:
        if pid := future.result():
            pids[netns.partition(":")[2]] = pid
    return pids


def run_in_order(context: KernelContext, steps: Iterable[Step]) -> int:
    """Carry out the steps of one container; the number of its first process, 0 where it is stopped. StepError."""
    pid = 0
    for step in steps:
        try:
            pid = run_step(context, step)
        except HostError as error:
            words = f"{error.message} ({error.help_text})" if error.help_text else error.message
            raise StepError(step, hide(words, step.spec.env) if isinstance(step, ContainerCreate) else words) from error
    return pid


def run_step(context: KernelContext, step: Step) -> int:
    """Carry out one step; the number of the first process of what it started, 0 where it started nothing."""
    match step:
        case ContainerCreate():
            return engine_of(context, step.spec.runtime).create(step)
        case ContainerStart():
            return engine_of(context, step.runtime).start(step.engine_name)
        case ContainerStop():
            engine_of(context, step.runtime).stop(step.engine_name)
        case ContainerPark():
            engine_of(context, step.runtime).park(step.engine_name)
        case _:
            raise TypeError(f"{type(step).__name__} is no step of an engine")
    return 0
