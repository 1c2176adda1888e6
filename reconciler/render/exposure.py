"""What everyone can reach, for users: a line for each source and service, and the JSON that CI can compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from reconciler.errors import UsageError
from reconciler.explain.exposure import Reachable
from reconciler.render.colour import PLAIN, Palette
from reconciler.state.jsontext import MalformedError, parse_json
from reconciler.state.listed import listed

FORMAT_VERSION = 1
NAMES_MAX = 6
"""The most names in a cell of the table."""
Fact = tuple[str, str, str, int, str, str]
"""One source, one target, the service, the family, the way and the senders: what is compared."""


@dataclass(frozen=True, slots=True)
class ReachRow:
    """The sources reach a service of each target. `via` is the host and its port, `only_from` the only senders."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    service: str
    families: tuple[int, ...]
    via: str = ""
    only_from: str = ""


@dataclass(frozen=True, slots=True)
class ExposureDocument:
    """The document of `exposure --json`."""

    format_version: int
    topology: str
    reach: tuple[ReachRow, ...] = listed()


def compile_exposure(topology: str, found: Iterable[Reachable]) -> ExposureDocument:
    """The document of what was found."""
    rows = (ReachRow(*(getattr(reach, each.name) for each in fields(ReachRow))) for reach in found)
    return ExposureDocument(FORMAT_VERSION, topology, tuple(rows))


def render_exposure(document: ExposureDocument, palette: Palette = PLAIN) -> str:
    """The table for users, without a newline at the end."""
    if not document.reach:
        return "Nothing can be reached."
    cells = [(_names(row.sources), _names(row.targets), row.service, _way(row)) for row in document.reach]
    heads = ("FROM", "TO", "SERVICE", "BY")
    widths = [max(len(line[number]) for line in (heads, *cells)) for number in range(3)]
    lines = [palette.bold(_line(heads, widths))]
    before = ""
    for cell in cells:
        shown = (cell[0] if cell[0] != before else "", *cell[1:])
        before = cell[0]
        lines.append(_line(shown, widths))
    return "\n".join(lines)


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, (*widths, 0), strict=True)).rstrip()


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_MAX:,} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def _way(row: ReachRow) -> str:
    parts = [f"by {row.via}"] if row.via else []
    parts += [f"only from {row.only_from}"] if row.only_from else []
    parts += [f"IPv{row.families[0]} only"] if len(row.families) == 1 and row.families[0] == 6 else []
    return ", ".join(parts)


# --- comparison -----------------------------------------------------------------------------------------------------------


def facts_of(document: ExposureDocument) -> dict[Fact, None]:
    """Each single thing that can be reached."""
    return {
        (source, target, row.service, family, row.via, row.only_from): None
        for row in document.reach
        for source in row.sources
        for target in row.targets
        for family in row.families
    }


def parse_exposure(path: str, text: str) -> ExposureDocument:
    """A saved document. UsageError if the text is none."""
    help_text = "such a file is made by `netctl exposure --json > FILE`"
    try:
        saved = parse_json(text)
        if not isinstance(saved, dict) or saved.get("format_version") != FORMAT_VERSION:
            raise UsageError(f"{path} is not a saved exposure of version {FORMAT_VERSION}", help_text)
        return ExposureDocument(FORMAT_VERSION, str(saved["topology"]), tuple(_parse_row(row) for row in saved["reach"]))
    except (MalformedError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not a saved exposure: {error}", help_text) from None


def _parse_row(row: Mapping[str, Any]) -> ReachRow:
    families = tuple(int(family) for family in row["families"])
    sources, targets = (tuple(str(name) for name in row[key]) for key in ("sources", "targets"))
    return ReachRow(sources, targets, str(row["service"]), families, str(row.get("via", "")), str(row.get("only_from", "")))


def render_differences(before: ExposureDocument, after: ExposureDocument, palette: Palette = PLAIN) -> Iterator[str]:
    """A line for each thing that can be reached now and not before, or the other way round."""
    old, new = facts_of(before), facts_of(after)
    for mark, facts, other, paint in (("+", new, old, palette.green), ("-", old, new, palette.red)):
        merged: dict[tuple[str, str, str, str, str], list[int]] = {}
        for source, target, service, family, via, only in facts:
            if (source, target, service, family, via, only) not in other:
                merged.setdefault((source, target, service, via, only), []).append(family)
        for (source, target, service, via, only), families in merged.items():
            way = _way(ReachRow((source,), (target,), service, tuple(families), via, only))
            yield paint(f"  {mark} {source} reaches {target}: {service}{f' ({way})' if way else ''}")
