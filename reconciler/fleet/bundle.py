"""The worker's code for ssh hosts: the worker's side of this package, and the pure-Python packages that it may need.

It is read once in a run; the archive is created only if a host requests it. Its name is the hash of its files, so the
same code has the same name on every machine.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

from reconciler.worker.bootstrap import hash_files

OWN = ("errors", "state", "kinds", "plan", "kernel", "worker", "probes")
"""The parts of `reconciler` that a worker imports; the rest needs YAML, pydantic or a terminal."""
PACKAGES = (
    "nftables",
    *("docker", "requests", "urllib3", "idna", "certifi", "charset_normalizer"),
    "pyroute2",
    *("ovs", "sortedcontainers"),
)
"""Packages that are read from this Python's path; a missing one is not needed. Their compiled parts are left out."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a zip file, so that the same files give the same bytes."""


@dataclass(frozen=True)
class Bundle:
    """Files by their paths below the directory from which Python imports."""

    files: dict[str, bytes]

    @cached_property
    def code_hash(self) -> str:
        """The name of this code."""
        return hash_files(self.files)

    @cached_property
    def archive(self) -> bytes:
        """All files as a zip file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(path, EPOCH), content, zipfile.ZIP_DEFLATED, compresslevel=6)
        return buffer.getvalue()


@cache
def read_bundle() -> Bundle:
    """The code of this installation."""
    root = Path(__file__).resolve().parents[1]
    files = {"reconciler/__init__.py": (root / "__init__.py").read_bytes()}
    for name in OWN:
        files |= _read(root / f"{name}.py" if (root / f"{name}.py").exists() else root / name, f"reconciler/{name}")
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is not None and spec.origin:
            origin = Path(spec.origin)
            files |= _read(origin.parent if origin.name == "__init__.py" else origin, name)
    return Bundle(files)


def _read(source: Path, name: str) -> dict[str, bytes]:
    """A module or a package, as files that begin with `name`."""
    if source.is_file():
        return {f"{name}.py": source.read_bytes()}
    return {f"{name}/{path.relative_to(source).as_posix()}": path.read_bytes() for path in sorted(source.rglob("*.py"))}
