"""What an engine's container is made from, and the labels that say so and whose it is.

The steps that create a container, the backends of the engines and the command lines of a plan all write these labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from reconciler.state.codec import Codec
from reconciler.state.jsontext import parse_json
from reconciler.state.secrets import mask_env

TOPOLOGY_LABEL, HOST_LABEL, NAME_LABEL, SPEC_LABEL = "netctl.topology", "netctl.host", "netctl.name", "netctl.spec"
LABEL_MAX_BYTES = 1 << 22
"""Of what a spec, a mark or a container's label holds. Whoever may start containers can write them."""
PARKED = ".netctl-parked-"
"""What follows the name of a parked container, with its id or a number behind: no two are ever called the same."""
SPEC_VERSION = 1
"""Of the label. A new key with a default needs no new version: containers without it were made with the default."""
SPECS = Codec(())


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


def render_spec(spec: ContainerSpec) -> str:
    """What the label `netctl.spec` holds: what differs from the defaults."""
    return json.dumps({"version": SPEC_VERSION, **SPECS.encode(spec)}, separators=(",", ":"))


def parse_spec(text: str) -> ContainerSpec | None:
    """The spec in a label `netctl.spec`; a key that is missing has its default, and a label without a version is of version 1.

    None for another version, an unknown key, or no spec at all: it then differs from any that is wanted, and the container is
    re-created.
    """
    try:
        told = parse_json(text, LABEL_MAX_BYTES)
        if not isinstance(told, dict) or told.pop("version", SPEC_VERSION) != SPEC_VERSION:
            return None
        return SPECS.decode(ContainerSpec, told)
    except ValueError:
        return None


def labels_of(topology: str, host_key: str, container: str, spec: ContainerSpec) -> tuple[tuple[str, str], ...]:
    """The labels by which a container is known again."""
    return (TOPOLOGY_LABEL, topology), (HOST_LABEL, host_key), (NAME_LABEL, container), (SPEC_LABEL, render_spec(spec))
