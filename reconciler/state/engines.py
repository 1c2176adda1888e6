"""Where each container engine listens, if the file does not say otherwise."""

from __future__ import annotations

DEFAULT_ENGINES = {
    "docker": "unix:///var/run/docker.sock",
    "podman": "unix:///run/podman/podman.sock",
    "lxc": "/var/lib/lxc",
}
"""Where each engine is, by the runtime that it serves."""
