"""What Docker's own files say of its containers, for as long as dockerd does not answer.

dockerd starts containers at boot before it answers a request, and waits until each has started. So while a start waits,
nothing can be asked. Its files are no interface, but the only source then: moby, container/container.go, `toDisk`.
A file may be of the time before the boot, so a process counts only if its control group bears the container's identity.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.kernel.engines.docker_containers import Listed, parse_labels
from reconciler.state.jsontext import SIZE_MAX_BYTES, MalformedError, parse_json

FILE = "config.v2.json"
FORMLESS = (MalformedError, KeyError, TypeError, ValueError, AttributeError)


def read_stored(root: str) -> tuple[Listed, ...]:
    """All containers of the dockerd with this data directory. OSError if it cannot be read.

    A container whose file is incomplete was never started, or is being removed.
    """
    return tuple(_read_all(Path(root) / "containers"))


def _read_all(directory: Path) -> Iterator[Listed]:
    for name in sorted(os.listdir(directory)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, *FORMLESS):
            yield parse_stored(parse_json((directory / name / FILE).read_bytes(), SIZE_MAX_BYTES))


def parse_stored(found: Any) -> Listed:
    """A container by its file."""
    state, settings = found["State"], found.get("NetworkSettings") or {}
    identity = str(found["ID"])
    pid = int(state.get("Pid") or 0) if state.get("Running") else 0
    is_running = bool(pid) and _is_of(pid, identity)
    return Listed(
        identity,
        str(found["Name"]).lstrip("/"),
        "running" if is_running else "exited",
        parse_labels(_mapping((found.get("Config") or {}).get("Labels"))),
        tuple(sorted(network for network in _mapping(settings.get("Networks")) if network not in ("none", "host"))),
        str(found.get("Image") or ""),
        pid=pid if is_running else 0,
        hosts_path=str(found.get("HostsPath") or ""),
    )


def read_image_labels(root: str, image: str) -> dict[str, str]:
    """The labels of an image, by Docker's own store of images; none if containerd stores them, or the file is not readable."""
    digest = image.removeprefix("sha256:")
    if not digest.isalnum():
        return {}
    for path in Path(root).glob(f"image/*/imagedb/content/sha256/{digest}"):
        with contextlib.suppress(OSError, *FORMLESS):
            found = parse_json(path.read_bytes(), SIZE_MAX_BYTES)
            return parse_labels(_mapping((found.get("config") or {}).get("Labels")))
    return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_of(pid: int, identity: str) -> bool:
    """Whether a process is in the control group of a container."""
    try:
        return identity in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
