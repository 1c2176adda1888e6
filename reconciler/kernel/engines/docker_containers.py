"""Containers in the words of Docker's API: the labels by which they are netctl's, and what lists them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.state.container_spec import PARKED, ContainerSpec, HolderSpec
from reconciler.state.members import Member
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.spec_label import HOLDER_ROLE, ROLE_LABEL, SPEC_LABEL, parse_holder_spec, parse_spec

NO_NETWORKS = ("none", "host")
"""The engine's names for the network of a container without one, and of one in the host's namespace."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A container, as `docker ps --all` shows it.

    `state` is Docker's word: created, running, paused, restarting, removing, exited or dead; "" if it was not asked for.
    """

    identity: str
    name: str
    state: str
    labels: Mapping[str, str]
    networks: tuple[str, ...] = ()
    """The engine's networks of the container."""
    image: str = ""
    """The identity of its image."""
    pid: int | None = None
    """Its first process, 0 without one; None if the engine has to be asked."""
    hosts_path: str = ""
    """The engine's own file for its /etc/hosts, if the engine has not to be asked."""

    @property
    def parked(self) -> bool:
        """Whether `park` has renamed it."""
        return PARKED in self.name

    @property
    def is_holder(self) -> bool:
        """Whether it only holds the network namespace of another container."""
        return self.labels.get(ROLE_LABEL) == HOLDER_ROLE

    @property
    def holder_spec(self) -> HolderSpec | None:
        """A holder's specification; None if its label has none."""
        return parse_holder_spec(self.labels.get(SPEC_LABEL, ""))

    @property
    def spec(self) -> ContainerSpec | None:
        """Its specification; None if its label has none."""
        return parse_spec(self.labels.get(SPEC_LABEL, ""))


def existing_info(runtime: str, listed: Listed, container: str, member: Member | None, pid: int) -> ContainerInfo:
    """What another program's container is in the file. It may have ended since it was listed: `pid` is 0 then."""
    return ContainerInfo(
        runtime=runtime,
        container=container,
        engine_name=listed.name,
        spec=None,
        running=pid > 0,
        pid=pid,
        existing=True,
        networks=listed.networks,
        member=replace(member, state="exited") if member and member.is_running and not pid else member,
    )


def parse_listed(item: Mapping[str, Any]) -> Listed:
    """One entry of GET /containers/json."""
    names = [name.removeprefix("/") for name in item.get("Names") or ()]
    # A legacy link adds a name that contains a slash.
    name = next((name for name in names if "/" not in name), "")
    settings = item.get("NetworkSettings") or {}
    networks = (str(network) for network in settings.get("Networks") or ())
    return Listed(
        str(item["Id"]),
        name,
        str(item["State"]),
        parse_labels(item.get("Labels") or {}),
        tuple(sorted(network for network in networks if network not in NO_NETWORKS)),
        str(item.get("ImageID") or ""),
    )


def parse_labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Labels as text, whatever values an engine has."""
    return {str(key): str(value) for key, value in labels.items()}
