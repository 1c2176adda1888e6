"""The specification of an engine's container, and the name of a container that is kept for a rollback."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from reconciler.state.secrets import mask_env

PARKED = ".netctl-parked-"
"""The suffix of a parked container's name. An id or a number follows it, so that no two have the same name."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """The input from which an engine creates a container; a change of any field re-creates the container."""

    runtime: str
    image: str
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    restart: str = "no"

    def masked(self) -> ContainerSpec:
        """The same without the values of its environment variables."""
        return replace(self, env=mask_env(self.env)) if self.env else self


SPEC_KEYS = tuple(each.name for each in fields(ContainerSpec) if each.name != "runtime")
"""The keys of a container in the file that its spec holds under the same name."""
BARE_KEYS = ("command", "env")
"""Those that a bare namespace has, too."""
