"""Steps on containers: those of an engine, and the commands that run in bare namespaces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from reconciler.state.secrets import mask_env
from reconciler.state.steps.lanes import PROCESS, RUNTIME
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What an engine needs to make a container; a change of any of it re-creates the container."""

    runtime: str
    image: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    restart: str = "no"

    def masked(self) -> ContainerSpec:
        """The same without the values of its variables."""
        return replace(self, env=mask_env(self.env)) if self.env else self


@dataclass(frozen=True, slots=True)
class ContainerCreate(Step):
    """Create (without network) and start a container, labelled as ours; `netns` is its namespace-to-be.

    Where a parked container of that name and `spec` is there, it is brought back instead: that is how the re-creation
    of a container is undone.
    """

    lane = RUNTIME
    container: str
    engine_name: str
    spec: ContainerSpec

    def masked(self) -> Self:
        return replace(self, spec=self.spec.masked())


@dataclass(frozen=True, slots=True)
class ContainerStart(Step):
    """Start a container that is there and stopped."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ContainerStop(Step):
    """Stop a container that runs: the inverse of ContainerStart."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ContainerPark(Step):
    """Stop a container and rename it, so that it can be brought back; it is removed when the whole apply has succeeded."""

    lane = RUNTIME
    runtime: str
    engine_name: str


@dataclass(frozen=True, slots=True)
class ProcessStart(Step):
    """Run `command` in the namespace: in a session of its own, marked in its environment, its output logged under /run/netctl."""

    lane = PROCESS
    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    def masked(self) -> Self:
        return replace(self, env=mask_env(self.env))


@dataclass(frozen=True, slots=True)
class ProcessStop(Step):
    """End the processes that carry the container's mark: SIGTERM, then SIGKILL."""

    lane = PROCESS
    container: str
