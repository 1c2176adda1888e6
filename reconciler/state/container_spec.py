"""What an engine's container is made from, and the name of one that is kept for a rollback."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from reconciler.state.secrets import mask_env

PARKED = ".netctl-parked-"
"""What follows the name of a parked container, with its id or a number behind: no two are ever called the same."""


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


SPEC_KEYS = tuple(each.name for each in fields(ContainerSpec) if each.name != "runtime")
"""The keys of a container in the file that its spec holds under the same name."""
BARE_KEYS = ("command", "env")
"""Those that a bare namespace has, too."""
