"""The default socket of each container engine."""

from __future__ import annotations

DEFAULT_ENGINES = {
    "docker": "unix:///var/run/docker.sock",
    "podman": "unix:///run/podman/podman.sock",
    "lxc": "/var/lib/lxc",
}
"""The default socket by the runtime that the engine serves."""
