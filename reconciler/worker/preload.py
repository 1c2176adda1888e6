"""What a worker imports when it first needs it, imported at once: for a process that forks a worker each time (`fleet.local`).

A worker shares what its parent has imported. Without this, each one would import a third of the package, and Docker's library in
0.2 s.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from reconciler.state.engines import ENGINES
from reconciler.state.engines.docker import DockerCommands

MODULES = (
    "engines.engine",
    "facts.capabilities",
    "facts.foreign_routes",
    "facts.host_facts",
    "netfilter.nft",
    "netfilter.table_dump",
    "openvswitch.read",
    "processes.commands",
    "processes.logs",
    "settings.interface_settings",
)
"""Of `reconciler.kernel`."""


def preload(runtimes: Collection[str]) -> None:
    """Import them; and what engines need, if the file names containers of these runtimes."""
    for name in MODULES:
        import_module(f"reconciler.kernel.{name}")
    if any(isinstance(ENGINES.get(runtime), DockerCommands) for runtime in runtimes):
        from reconciler.kernel.engines.docker_connection import preload as preload_docker

        preload_docker()
