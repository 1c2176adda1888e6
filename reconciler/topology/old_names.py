"""Keys whose name has changed: the old name is read as the new one, and a warning says so.

It happens before the model checks the file, so that nothing else knows the old name. The version of the format stays 1.
"""

from __future__ import annotations

from reconciler.errors import Fault
from reconciler.topology.types import Path
from reconciler.topology.yaml import Document

OLD, NEW = "expose", "ports"
"""A container's published ports. In Compose, `expose` publishes nothing, and `ports` does."""


def rename_old_keys(document: Document) -> None:
    """Rename the old keys of the document, and note their positions in `renamed`. A file with both names has a fault."""
    containers = document.tree.get("containers") if isinstance(document.tree, dict) else None
    found: dict[Path, Path] = {}
    for name, container in containers.items() if isinstance(containers, dict) else ():
        if not isinstance(container, dict) or OLD not in container:
            continue
        old: Path = ("containers", name, OLD)
        position = document.keys[old]
        if NEW in container:
            line = document.keys["containers", name, NEW].line
            message = f"`{OLD}` is the old name of `{NEW}`, which stands in line {line} already"
            document.faults.append(Fault(position, message, f"write its items under `{NEW}`"))
            del container[OLD]
            continue
        document.renamed.append(position)
        found[old] = ("containers", name, NEW)
        items = list(container.items())
        container.clear()
        container.update((NEW if key == OLD else key, value) for key, value in items)
    if found:
        document.positions = {_rename(path, found): each for path, each in document.positions.items()}
        document.keys = {_rename(path, found): each for path, each in document.keys.items()}
        document.key_faults = {_rename(path, found): each for path, each in document.key_faults.items()}
        document.broken = {_rename(path, found) for path in document.broken}


def _rename(path: Path, found: dict[Path, Path]) -> Path:
    new = found.get(path[:3])
    return (*new, *path[3:]) if new else path
