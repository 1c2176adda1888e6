"""The fenced blocks of a document, and the mark that says what a test does with each.

A mark is an HTML comment in the line before the fence, so readers do not see it:

| mark | block |
|---|---|
| none | `sh` is run, `yaml` is validated, `json` is parsed |
| `script` | `sh` that begins in a fresh machine; a whole topology does so, too |
| `applied`, `applied: FILE` | `sh` that begins in a machine with the topology of the README, or of a file of the repository |
| `server` | `sh` that the script's rows need, too |
| `fails`, `ends with N` | `sh` whose last line ends so |
| `prints: COMMAND` | the command's output, in which `…` stands for anything |
| `prints` | the same; the command is the first line, behind `$ ` |
| `excerpt of: COMMAND` | each line occurs in the command's output |
| `drawing` | nothing to run |
| `applied; ends with N` | both |
| `not run: REASON` | it cannot run here; the reason is printed at the end of the tests |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)$")
_MARK = re.compile(r"^<!-- (?P<mark>.+) -->$")
_ROW = re.compile(r"^\| `(?P<line>[^`]+)` \| `(?P<command>[^`]+)` \| .+ \|$")


@dataclass(frozen=True, slots=True)
class Block:
    """A block and its place; `mark` is "" without a comment before it."""

    file: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def is_whole_topology(self) -> bool:
        """Whether it is a file that netctl takes as it is."""
        return self.language == "yaml" and "\nversion: 1\n" in f"\n{self.text}"

    @property
    def begins(self) -> bool:
        """Whether its machine is a fresh one."""
        return self.mark == "script" or self.is_whole_topology

    @property
    def status(self) -> int:
        """The status with which the block ends."""
        found = re.search(r"(?:^|; )ends with (\d+)$", self.mark)
        return int(found[1]) if found else 0

    @property
    def applied(self) -> str | None:
        """The file of the repository that is applied before it, "" for the topology of the README; None without one."""
        found = re.match(r"applied(?:: (?P<file>[^;]+))?(?:$|;)", self.mark)
        return (found["file"] or "") if found else None

    @property
    def reason_not_run(self) -> str:
        """Why it cannot run here; "" if it can."""
        kind, _, reason = self.mark.partition(": ")
        return reason if kind == "not run" else ""


@dataclass(frozen=True, slots=True)
class Omission:
    """A row of a table: the line of the last script that is left out, and the command that fails then."""

    line: str
    command: str


def read_blocks(file: Path) -> list[Block]:
    """All blocks of the document, in order."""
    found, lines = list[Block](), file.read_text().splitlines()
    start, language = 0, ""
    for number, line in enumerate(lines, 1):
        if start and line == "```":
            mark = _MARK.match(lines[start - 2]) if start > 1 else None
            text = "\n".join(lines[start : number - 1]) + "\n"
            found.append(Block(file, start, language, mark["mark"] if mark else "", text))
            start = 0
        elif not start and (fence := _FENCE.match(line)):
            start, language = number, fence["language"]
    assert not start, f"{file}: the block of line {start} is not closed"
    return found


def read_omissions(file: Path) -> list[Omission]:
    """The rows of the document's table `leave out`."""
    rows = (_ROW.match(line) for line in file.read_text().splitlines())
    return [Omission(row["line"], row["command"]) for row in rows if row]
