"""The command lines of a container engine. The words are for a script that a user reads: netctl itself calls the engine's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reconciler.state.container_spec import ContainerSpec, HolderSpec


@dataclass(frozen=True, slots=True)
class ContainerOrder:
    """A container to create: its name in the file, what the engine calls it, what it is made from, and its labels."""

    container: str
    engine_name: str
    spec: ContainerSpec
    topology: str
    host_key: str
    joins: str = ""
    """The network namespace that it joins: a path, or the name of the container that holds it; "" for one of its own."""
    owner: str = ""
    """The container for which that namespace is held."""


@dataclass(frozen=True, slots=True)
class EngineCommands(ABC):
    """The command lines of an engine; `command` is the program, with where it listens (see `command`)."""

    has_socket: ClassVar[bool] = True
    """Whether it listens at a socket; else its place is a directory."""

    program: str
    usual_place: str
    """Where it listens if the file does not say otherwise."""
    place_options: tuple[str, ...]
    """The options that lead its program to another place."""
    joins_path: bool
    """Whether a container of it can join a network namespace that a path names; else it joins that of a holder."""

    def command(self, place: str) -> tuple[str, ...]:
        """The program, led to where the engine listens; "" is the usual place."""
        return (self.program, *self.place_options, place) if place else (self.program,)

    @abstractmethod
    def create(self, command: tuple[str, ...], order: ContainerOrder) -> Iterator[str]:
        """Create a container in its namespace, and start it."""

    def hold(
        self, command: tuple[str, ...], engine_name: str, spec: HolderSpec, labels: tuple[tuple[str, str], ...]
    ) -> Iterator[str]:
        """Create a holder, and start it, if containers of the engine cannot join a path."""
        raise NotImplementedError(f"{self.program} needs no holders")

    @abstractmethod
    def start(self, command: tuple[str, ...], engine_name: str) -> str:
        """Start one that is stopped."""

    @abstractmethod
    def stop(self, command: tuple[str, ...], engine_name: str) -> str:
        """Stop one that runs."""

    @abstractmethod
    def remove(self, command: tuple[str, ...], engine_name: str) -> Iterator[str]:
        """Stop one and remove it."""

    @abstractmethod
    def pid(self, command: tuple[str, ...], engine_name: str) -> str:
        """Print the first process of one."""

    @abstractmethod
    def logs(self, engine_name: str) -> str:
        """Print why one has ended; for a help line."""

    @abstractmethod
    def start_words(self, engine_name: str) -> str:
        """Start one; for a help line."""
