"""Members: containers of another program that a file names by their labels, and not one by one.

Compose labels its containers with their project, their service and their number. netctl names such a member after the
container in the file and that number. Other members have the engine's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from reconciler.state.naming import RESERVED_NAMES

COMPOSE_PREFIX = "com.docker.compose."
COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_NUMBER = "com.docker.compose.container-number"
COMPOSE_ONE_OFF = "com.docker.compose.oneoff"
"""Compose's labels (docker/compose, pkg/api/labels.go). Other programs that read Compose files set the first three, too."""
ONE_OFF_NAME = re.compile(r"_tmp[0-9]+\Z")
NUMBER = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
NUMBER_LENGTH = 4
NAME_MAX = 63
"""The longest DNS label."""


@dataclass(frozen=True, slots=True)
class Selector:
    """The labels of members. Those of a service of Compose are numbered."""

    labels: tuple[tuple[str, str], ...]
    is_service: bool = False

    @classmethod
    def of_service(cls, project: str, service: str) -> Selector:
        """The containers of a service of Compose."""
        return cls(((COMPOSE_PROJECT, project), (COMPOSE_SERVICE, service)), is_service=True)

    def selects(self, engine_name: str, labels: Mapping[str, str]) -> bool:
        """Whether a container with these labels is a member. One that `compose run` started for one command is none."""
        # Some programs give a one-off container all labels of its service, and only a name of its own.
        is_one_off = labels.get(COMPOSE_ONE_OFF, "").lower() == "true" or ONE_OFF_NAME.search(engine_name) is not None
        return not (self.is_service and is_one_off) and all(labels.get(key) == value for key, value in self.labels)

    def number_of(self, labels: Mapping[str, str]) -> int:
        """The number that Compose gave it; 0 without one."""
        text = labels.get(COMPOSE_NUMBER, "") if self.is_service else ""
        return int(text) if NUMBER.fullmatch(text) else 0

    def may_name(self, origin: str, name: str) -> bool:
        """Whether a member can have the name; `origin` is the key in the file."""
        stem, _, number = name.rpartition("-")
        return not self.is_service or (stem == origin and NUMBER.fullmatch(number) is not None)

    @property
    def text(self) -> str:
        """As in the file: `compose: shop/web`, `label: tier=front`."""
        if self.is_service:
            return f"compose: {'/'.join(value for _, value in self.labels)}"
        return f"label: {', '.join(f'{key}={value}' for key, value in self.labels)}"


@dataclass(frozen=True, slots=True)
class Member:
    """A container that a selector of the file chose: `origin` is its key in the file, `name` its own name there.

    `state` is the engine's word (`running`, `exited` …). `number` is Compose's; 0 without one.
    """

    origin: str
    name: str
    runtime: str
    engine_name: str
    state: str
    number: int = 0

    @property
    def is_running(self) -> bool:
        """Whether it has a process, and so a network namespace."""
        return self.state == "running"


def find_members(
    runtime: str, engine_name: str, state: str, labels: Mapping[str, str], selectors: Mapping[str, Selector]
) -> tuple[Member, ...]:
    """The roles of one container, by the selectors of an engine; none in most cases, and seldom more than one."""
    return tuple(
        Member(origin, name_of(origin, number := selector.number_of(labels), engine_name), runtime, engine_name, state, number)
        for origin, selector in selectors.items()
        if selector.selects(engine_name, labels)
    )


def name_of(origin: str, number: int, engine_name: str) -> str:
    """A member's name in the topology, which is a DNS label."""
    if number:
        return f"{origin}-{number}"
    label = re.sub(r"[^a-z0-9]+", "-", engine_name.lower())
    return (label if label not in RESERVED_NAMES else f"{origin}-{label}")[:NAME_MAX].strip("-")


def is_from_image(labels: Mapping[str, str], image_labels: Mapping[str, str]) -> bool:
    """Whether a container has all its labels of Compose from its image, so that Compose has not created it.

    A container inherits the labels of its image. Compose's own hash of the configuration differs from any that an image has.
    """
    return all(image_labels.get(key) == value for key, value in labels.items() if key.startswith(COMPOSE_PREFIX))


def settle(
    members: Iterable[Member], names: Collection[str], engine_names: Collection[tuple[str, str]]
) -> tuple[tuple[Member, ...], tuple[Member, ...]]:
    """The members in the order of their numbers, and those whose name or container is taken.

    `names` and `engine_names` (with their runtimes) are those of other containers. Of two with one name, one that runs is taken.
    """
    taken, used = set(names), set(engine_names)
    kept, left = [], []
    for member in sorted(members, key=lambda one: (not one.is_running, one.engine_name)):
        key = member.runtime, member.engine_name
        if member.name in taken or key in used:
            left.append(member)
            continue
        taken.add(member.name)
        used.add(key)
        kept.append(member)
    return tuple(sorted(kept, key=lambda one: (one.number, one.name))), tuple(left)
