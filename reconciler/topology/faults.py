"""The faults of one file during its checks: their positions, and the parts that were left out because they are faulty.

`load` creates one list per file. `checks` and `unsupported` add to it by path. They ask it whether a part was left out,
so that a reference to it is no fault.
"""

from __future__ import annotations

from reconciler.errors import Fault, Position
from reconciler.topology.messages import key_position, value_position
from reconciler.topology.types import Path
from reconciler.topology.yaml import Document


class FaultList:
    """Collects faults; the same sentence at the same position counts once."""

    def __init__(self, document: Document) -> None:
        """Starts with the faults found while reading the document."""
        self._document = document
        self._faults: dict[tuple[Position, str, str], Fault] = {}
        for fault in (*document.faults, *document.key_faults.values()):
            self.append(fault)
        self.broken: set[Path] = set(document.broken)
        """The parts of the file that were left out."""
        self._around: tuple[int, set[Path]] = (0, set())
        """The number of parts that were left out so far, and their parents: there may be a hundred thousand."""
        self.kept: dict[Path, tuple[int, ...]] = {}
        """Of lists with left-out items: the numbers, in the file, of those that remain."""

    def __bool__(self) -> bool:
        return bool(self._faults)

    def append(self, fault: Fault) -> None:
        """Note a fault whose position is known."""
        self._faults.setdefault((fault.position, fault.message, fault.help_text), fault)

    def add(self, path: Path, message: str, help_text: str = "") -> None:
        """Note a fault of the value at `path`."""
        self.append(Fault(value_position(self._document, self.in_file(path)), message, help_text))

    def add_at_key(self, path: Path, message: str, help_text: str = "") -> None:
        """Note a fault of the key at `path`."""
        self.append(Fault(key_position(self._document, self.in_file(path)), message, help_text))

    def line(self, path: Path) -> int:
        """The line of the value at `path`, for messages that name a second position."""
        return value_position(self._document, self.in_file(path)).line

    def left_out(self, path: Path) -> bool:
        """Whether `path`, a parent of it, or a part of it was left out."""
        if len(self.broken) != self._around[0]:
            self._around = len(self.broken), {each[:length] for each in self.broken for length in range(len(each))}
        return path in self._around[1] or any(path[:length] in self.broken for length in range(len(path) + 1))

    def all(self) -> tuple[Fault, ...]:
        """The faults, in the order in which they were found."""
        return tuple(self._faults.values())

    def in_file(self, path: Path) -> Path:
        """The path in the file for a `path` in the rest of it."""
        for length, part in enumerate(path):
            if isinstance(part, int) and path[:length] in self.kept:
                return (*path[:length], self.kept[path[:length]][part], *path[length + 1 :])
        return path
