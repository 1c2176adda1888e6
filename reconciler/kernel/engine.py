"""Container engines as netctl sees them: what one must be able to do, which one serves a runtime, and the steps of that lane.

Called by the executor (lane `runtime`), by `snapshot`, and by the worker before and after an apply. One that speaks
Docker's language is served by `kernel.docker`; another kind of engine is another class with these methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Protocol

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.docker import DockerEngine
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.steps import ContainerCreate, ContainerPark, ContainerStart, ContainerStop, Step, StepError

WORKERS = 32
"""Containers worked on at a time. An engine makes few at once, but those that take their ten seconds to stop only wait."""


class Engine(Protocol):
    """An engine, for one topology on one host. Each method raises HostError: a sentence, and what to do."""

    def is_there(self) -> bool:
        """Whether it answers."""

    def read_containers(self, existing: Mapping[str, str]) -> tuple[ContainerInfo, ...]:
        """The topology's containers, parked ones too, and the `existing` ones that are there (container to engine's name)."""

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """Refuse what could not be carried out (an image that is missing, a name that is taken), before anything is touched."""

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
    if runtime == "docker":
        return DockerEngine(context.topology, context.host_key, context.docker_socket)
    raise HostError(f"no engine serves `runtime: {runtime}`", "this version serves `docker` and `netns`")


def read_containers(
    context: KernelContext, existing: Mapping[str, str] | None = None, *, needed: bool = False
) -> tuple[ContainerInfo, ...]:
    """What the engines hold of the topology.

    An engine that is not running has nothing, and that is no fault unless it is `needed`: where the file names containers of it.
    """
    engine = engine_of(context, "docker")
    if not needed and not existing and not engine.is_there():
        return ()
    return engine.read_containers(existing or {})


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
    engine = engine_of(context, "docker")
    if engine.is_there():
        engine.remove_parked()


def run_runtime_steps(context: KernelContext, steps: Sequence[Step]) -> dict[str, int]:
    """Carry out steps, those of one container in order, different containers side by side. StepError where one fails.

    Gives the first process of each container that was started, by the container's name in the topology.
    """
    from concurrent.futures import ThreadPoolExecutor

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
            raise StepError(step, words) from error
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
