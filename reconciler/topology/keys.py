"""The keys of the topology file in the words of docs/file-format.md, for `netctl help KEY`.

`python -m reconciler.topology.keys` writes keys.json from the document's tables, so that an installed netctl has them. Pure, but
for that file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path("docs/file-format.md")
DATA = Path(__file__).with_name("keys.json")
HEADS = ("key", "form")
"""The first words of the tables with keys; a form of `ports` is a key's value."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_CELL = re.compile(r"(?<!\\)\|")


class Key(NamedTuple):
    """A key: the heading of its part of the file, its name, its value and its default, as the document says."""

    section: str
    name: str
    value: str
    default: str


def parse_keys(text: str) -> tuple[Key, ...]:
    """The keys in the tables of the document, in its order."""
    section, is_table, found = "", False, []
    for line in text.splitlines():
        if line.startswith("#"):
            section, is_table = line.lstrip("# "), False
            continue
        cells = [_plain(cell) for cell in _CELL.split(line)[1:-1]]
        if not cells:
            is_table = False
        elif cells[0] in HEADS:
            is_table = cells[0] == "key"
        elif is_table and not set(cells[0]) <= set(":-"):
            names = re.findall(r"`([a-z_0-9]+)(?:: [^`]*)?`", cells[0])
            found += [Key(section, name, cells[1], "; ".join(filter(None, cells[2:]))) for name in names]
    return tuple(found)


def _plain(cell: str) -> str:
    return _LINK.sub(r"\1", cell).replace("\\|", "|").strip()


def read_keys() -> tuple[Key, ...]:
    """The keys that netctl has with it."""
    return tuple(Key(*each) for each in json.loads(DATA.read_text(encoding="utf-8")))


def find_keys(word: str) -> tuple[Key, ...]:
    """The keys called `word`, or `SECTION.word` with a part of the section's heading: `hosts.address`."""
    section, _, name = word.rpartition(".")
    return tuple(key for key in read_keys() if key.name == name and section.lower() in key.section.lower())


def render_keys(keys: tuple[Key, ...]) -> str:
    """The content of keys.json."""
    return "[\n" + ",\n".join(json.dumps(list(key), ensure_ascii=False) for key in keys) + "\n]\n"


if __name__ == "__main__":
    DATA.write_text(render_keys(parse_keys(DOCUMENT.read_text(encoding="utf-8"))), encoding="utf-8")
