"""The text of a topology file for messages, which show the faulty line: the values of `env` are secret.

A message goes to a terminal, and often on to the log of a pipeline.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from reconciler.errors import Position
from reconciler.topology.types import Path
from reconciler.topology.yaml import Document, Tree


def hide_values(document: Document, source: str) -> str:
    """The text with asterisks from the beginning of each value of an `env` to the next value in its line. Columns stay."""
    values = list(_find_values(document))
    if not values:
        return source
    columns: dict[int, list[int]] = {}
    for position in (*document.positions.values(), *document.keys.values()):
        columns.setdefault(position.line, []).append(position.column)
    lines = source.splitlines(keepends=True)
    for position, is_whole in values:
        if position.line > len(lines):
            continue
        line = lines[position.line - 1]
        known = sorted(columns[position.line])
        after = bisect_right(known, position.column)
        end = known[after] - 1 if after < len(known) and is_whole else len(line.rstrip("\r\n"))
        start = position.column - 1
        # Of an item `NAME=value` the name may stay.
        name, equals, _ = line[start:end].partition("=")
        start += len(name) + 1 if equals and name.strip("\"'").isidentifier() else 0
        lines[position.line - 1] = line[:start] + "*" * (end - start) + line[end:]
    return "".join(lines)


def _find_values(document: Document) -> Iterator[tuple[Position, bool]]:
    """The position of each value of an `env`, or of a text in its place; and whether it is a single value."""
    tree = document.tree
    containers = tree.get("containers") if isinstance(tree, dict) else None
    for name, container in containers.items() if isinstance(containers, dict) else ():
        env = container.get("env") if isinstance(container, dict) else None
        values = env.items() if isinstance(env, dict) else enumerate(env) if isinstance(env, tuple) else ()
        paths: dict[Path, Tree] = {("env", key): value for key, value in values} or {("env",): env}
        for path, value in paths.items():
            if position := document.positions.get(("containers", name, *path)):
                yield position, not isinstance(value, tuple | dict)
