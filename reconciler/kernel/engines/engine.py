"""The interface of container engines, the engine of each runtime, and the steps of that backend.

`kernel.engines.docker` serves Docker and Podman, `kernel.engines.lxc` LXC; another engine is another class with these
methods. An engine that holds nothing of the topology, and that its file does not use, costs one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Protocol

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.docker import DockerEngine
from reconciler.kernel.engines.hosts_files import delete_hosts_file, write_hosts_file
from reconciler.kernel.engines.lxc import LxcEngine
from reconciler.kernel.run_directory.notes import read_engines, remove_engines, write_engines
from reconciler.state.container_spec import OWN
from reconciler.state.engines import ENGINES, HOLDING
from reconciler.state.members import Selector
from reconciler.state.ref import container_of
from reconciler.state.secrets import hide
from reconciler.state.snapshot import ContainerInfo, HolderInfo
from reconciler.state.steps.containers import (
    ContainerCreate,
    ContainerPark,
    ContainerStart,
    ContainerStop,
    HolderCreate,
    HostsDelete,
    HostsWrite,
)
from reconciler.state.steps.step import Step, StepError

WORKERS = 32
"""The most containers at a time. An engine creates few at once, but those that take their ten seconds to stop only wait."""

Wanted = Mapping[str, Mapping[str, str]]
"""The runtimes of containers on the host in the file; for each, the existing containers: their names in both."""

WantedMembers = Mapping[str, Mapping[str, Selector]]
"""For each runtime, the containers in the file that labels select."""


class Engine(Protocol):
    """An engine, for one topology on one host. Each method raises HostError: a sentence, and advice."""

    def holds_any(self) -> bool:
        """Whether it exists, and has containers of the topology, of any host, parked ones too."""

    def read_containers(
        self, existing: Mapping[str, str], members: Mapping[str, Selector] | None = None
    ) -> tuple[ContainerInfo, ...]:
        """The topology's containers, parked ones too, and the `existing` ones that exist (container to engine's name).

        Besides, one for each selector of `members` and each container that it selects.
        """

    def read_foreign(self) -> tuple[tuple[str, str], ...]:
        """Name and state of the containers that are not the topology's."""

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """Reject impossible steps (a missing image), before anything is changed."""

    def create(self, step: ContainerCreate) -> int:
        """Create and start a container, or restore its parked twin; the number of its first process."""

    def start(self, engine_name: str) -> int:
        """Start a container of netctl's; the number of its first process."""

    def stop(self, engine_name: str) -> None:
        """Stop a container of netctl's."""

    def park(self, engine_name: str) -> None:
        """Stop a container of netctl's and rename it."""

    def remove_parked(self) -> None:
        """Delete all parked containers."""

    def close(self) -> None:
        """Close the connection; the next request opens another."""


@cache
def engine_of(context: KernelContext, runtime: str) -> Engine:
    """The engine that serves a runtime. HostError if this version has none."""
    if runtime not in ENGINES:
        raise HostError(f"no engine serves `runtime: {runtime}`", f"this version serves {', '.join(ENGINES)} and netns")
    if runtime == "lxc":
        return LxcEngine(context.topology, context.host_key, context.engine_url(runtime), context.machine_netns)
    return DockerEngine(runtime, context.topology, context.host_key, context.engine_url(runtime))


def read_containers(
    context: KernelContext, wanted: Wanted | None = None, members: WantedMembers | None = None
) -> tuple[ContainerInfo, ...]:
    """The topology's containers in the engines.

    An engine that does not run has none. That is an error only if the file names containers of it.
    """
    wanted, members = wanted or {}, members or {}
    found: list[ContainerInfo] = []
    for runtime in ENGINES:
        engine = engine_of(context, runtime)
        if runtime in wanted or engine.holds_any():
            found += engine.read_containers(wanted.get(runtime, {}), members.get(runtime, {}))
    return tuple(found)


def read_holders(context: KernelContext, wanted: Wanted | None = None) -> tuple[HolderInfo, ...]:
    """The topology's holders in the engines; as with containers, an engine that does not run has none."""
    engine = _holding_engine(context)
    return engine.read_holders() if HOLDING in (wanted or {}) or engine.holds_any() else ()


def _holding_engine(context: KernelContext) -> DockerEngine:
    engine = engine_of(context, HOLDING)
    if not isinstance(engine, DockerEngine):
        raise TypeError(f"{HOLDING} has no holders")
    return engine


def is_silent(context: KernelContext) -> bool:
    """Whether an engine cannot be asked now, because containers of it start before it answers."""
    return _holding_engine(context).is_silent


def close_engines(context: KernelContext) -> None:
    """Close all connections to engines: a socket keeps the namespace alive in which it was opened."""
    for runtime in ENGINES:
        engine_of(context, runtime).close()


def check_containers(context: KernelContext, steps: Iterable[Step]) -> None:
    """Before an apply: HostError if a container among the steps cannot be created."""
    for runtime, creates in by_runtime(steps).items():
        engine_of(context, runtime).check(creates)


def by_runtime(steps: Iterable[Step]) -> dict[str, list[ContainerCreate]]:
    """The creations among the steps, by the runtime that serves them."""
    found: dict[str, list[ContainerCreate]] = {}
    for step in steps:
        if isinstance(step, ContainerCreate):
            found.setdefault(step.spec.runtime, []).append(step)
    return found


def remove_parked(context: KernelContext) -> None:
    """After an apply succeeded on every host, or was rolled back on all: parked containers are no longer needed."""
    for runtime in ENGINES:
        engine = engine_of(context, runtime)
        if isinstance(engine, DockerEngine):
            engine.forget_starts()
            if engine.is_silent:
                continue
        if engine.holds_any():
            engine.remove_parked()
            if isinstance(engine, DockerEngine) and not engine.holds_any():
                engine.remove_pause()
    if read_engines(context) and not read_containers(context) and not read_holders(context):
        remove_engines(context)


def run_runtime_steps(context: KernelContext, steps: Sequence[Step]) -> dict[str, int]:
    """Execute steps, those of one container in order, different containers in parallel. StepError if one fails.

    It returns the first process of each started container that has a namespace of its own, by its name in the topology.
    """
    from concurrent.futures import ThreadPoolExecutor

    if any(isinstance(step, ContainerCreate | HolderCreate) for step in steps):
        write_engines(context)
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(step.netns, []).append(step)
    pids: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=min(WORKERS, len(groups) or 1)) as pool:
        futures = [(netns, pool.submit(run_in_order, context, group)) for netns, group in groups.items()]
    # All have ended by now: the report includes the effects of one container's failure.
    for netns, future in futures:
        if pid := future.result():
            pids[container_of(netns)] = pid
    return pids


def run_in_order(context: KernelContext, steps: Iterable[Step]) -> int:
    """Execute the steps of one container and its holder. StepError.

    It returns the number of the first process that was started in a namespace of its own, 0 without one.
    """
    pid = 0
    for step in steps:
        try:
            pid = run_step(context, step) or pid
        except HostError as error:
            words = f"{error.message} ({error.help_text})" if error.help_text else error.message
            raise StepError(step, hide(words, step.spec.env) if isinstance(step, ContainerCreate) else words) from error
    return pid


def run_step(context: KernelContext, step: Step) -> int:
    """Execute one step; the number of the first process that it started in a namespace of its own, 0 if none."""
    match step:
        case ContainerCreate():
            pid = engine_of(context, step.spec.runtime).create(step)
            return pid if step.network == OWN else 0
        case HolderCreate():
            return _holding_engine(context).create_holder(step)
        case HostsWrite() if step.holder:
            _holding_engine(context).write_hosts(step)
        case HostsWrite():
            write_hosts_file(context, step.container, step.lines)
        case HostsDelete():
            delete_hosts_file(context, step)
        case ContainerStart():
            pid = engine_of(context, step.runtime).start(step.engine_name)
            return pid if step.owns_netns else 0
        case ContainerStop():
            engine_of(context, step.runtime).stop(step.engine_name)
        case ContainerPark():
            engine_of(context, step.runtime).park(step.engine_name)
        case _:
            raise TypeError(f"{type(step).__name__} is not a step of an engine")
    return 0
