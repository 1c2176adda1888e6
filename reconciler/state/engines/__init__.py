"""The container engines: where each listens, and its command lines. `ENGINES` is the only list of them.

- `base`: what the command lines of every engine can do.
- `docker`: Docker, and engines that take its words. It also has the body by which the API creates a container.
- `lxc`: LXC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from reconciler.state.engines.base import EngineCommands
from reconciler.state.engines.docker import DockerCommands
from reconciler.state.engines.lxc import LxcCommands

EngineRuntime = Literal["docker", "podman", "lxc"]
Runtime = Literal[EngineRuntime, "netns"]
"""What can run a container: an engine, or none."""
ENGINES: Mapping[str, EngineCommands] = {
    "docker": DockerCommands("docker", "unix:///var/run/docker.sock", ("-H",), joins_path=False),
    "podman": DockerCommands("podman", "unix:///run/podman/podman.sock", ("--remote", "--url"), joins_path=True),
    "lxc": LxcCommands("lxc", "/var/lib/lxc", ("-P",), joins_path=True),
}
"""By the runtime that each serves."""
HOLDING: EngineRuntime = "docker"
"""The runtime whose containers join a holder, and not a path."""
