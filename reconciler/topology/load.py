"""From a path to a topology: read, parse, validate, check, expand. Every command starts with it.

One run finds all faults of a file. An invalid part of the file is left out and the rest is still checked; a reference
to that part is no fault. The hosts of a subnet follow from the whole file. So rules about them wait until no part is
left out, and all names are known.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler.errors import TopologyError
from reconciler.topology import DEFAULT_FILE
from reconciler.topology.check_lan import check_lan
from reconciler.topology.check_options import check_options
from reconciler.topology.check_overlays import check_overlays
from reconciler.topology.checks import check_topology
from reconciler.topology.env_files import read_env_files
from reconciler.topology.expand import expand_topology
from reconciler.topology.faults import FaultList
from reconciler.topology.indentation import find_shift
from reconciler.topology.messages import meant_by, translate
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.parsed_file import ParsedFile, parse_file, read_parsed
from reconciler.topology.references import is_settled
from reconciler.topology.secrets import hide_values
from reconciler.topology.types import Path, Topology
from reconciler.topology.typos import find_typos
from reconciler.topology.yaml import Document, Tree

_NEUTRAL: dict[str, Any] = {"version": 1, "name": "unnamed", "hosts": {}}
"""The values in place of required parts that are missing or invalid, so that the rest can be checked."""

_ROUNDS_MAX = 4
"""A part that is left out may reveal a fault around it, but only a few times: the depth of the file is limited."""


def load_topology(path: str) -> Topology:
    """The topology in the file at `path`, checked.

    Raises TopologyError with the faults of the file, UsageError if it cannot be read.
    """
    return check_parsed(read_parsed(path))


def parse_topology(data: bytes, path: str = DEFAULT_FILE) -> Topology:
    """As `load_topology`, for a file's bytes; `path` is its name in messages."""
    return check_parsed(parse_file(data, path))


def check_parsed(parsed: ParsedFile) -> Topology:
    """The topology in a parsed file. TopologyError with its faults."""
    try:
        return _check(parsed)
    except TopologyError as error:
        raise _blame_indentation(parsed, error) from None


def _blame_indentation(parsed: ParsedFile, error: TopologyError) -> TopologyError:
    """The error, or the one fault that causes it: a line that is indented wrongly."""
    document, lines = parsed.document, parsed.source.splitlines()
    find_lines = partial(_faulty_lines, parsed.path)
    if document.explained:
        return error
    if document.stop is not None:
        shift = find_shift(lines, (document.stop.line,), find_lines, is_readable=False)
    else:
        lines_blamed = [fault.position.line for fault in error.faults if fault.is_of_place]
        shift = find_shift(lines, lines_blamed, find_lines, is_readable=True)
    if shift is None or any(fault.position == shift.position for fault in document.faults if fault.is_of_place):
        return error
    return TopologyError(error.path, error.source, (shift,))


def _faulty_lines(path: str, text: str) -> list[int] | None:
    parsed = parse_file(text.encode(), path)
    try:
        _check(parsed)
    except TopologyError as error:
        return [fault.position.line for fault in error.faults] if parsed.document.stop is None else None
    return []


def _check(parsed: ParsedFile) -> Topology:
    path, document, source = parsed.path, parsed.document, hide_values(parsed.document, parsed.source)
    find_typos(document)
    faults = FaultList(document)
    model = _validate(document, faults) if document.readable else None
    if model is not None:
        check_topology(model, faults)
        variables = read_env_files(model, path, faults)
    if model is not None and not faults.broken and is_settled(model):
        topology = expand_topology(model, document, path, source, variables)
        _check_expanded(topology, document, faults)
        if not faults:
            return topology
    raise TopologyError(path, source, faults.all())


def _check_expanded(topology: Topology, document: Document, faults: FaultList) -> None:
    """The rules that need the hosts of each subnet. A second fault of a place that has one would be the same mistake."""
    found, places = FaultList(document), {fault.position for fault in faults.all()}
    # Of containers that labels select, one stands for all.
    topology = replace(topology, containers={container.name: container for container in topology.declared}, patterns={})
    check_overlays(topology, found)
    check_lan(topology, found)
    check_options(topology, found)
    for fault in found.all():
        if fault.position not in places:
            faults.append(fault)


def _validate(document: Document, faults: FaultList) -> TopologyModel | None:
    """The model of the file, or of the rest of it without its faulty parts; None if nothing remains."""
    # Faults of the reader are left out from the start, so that no other check reports them again.
    tree = _without(document.tree, document.broken, (), faults) if document.broken else document.tree
    for _ in range(_ROUNDS_MAX):
        try:
            return TopologyModel.model_validate(tree)
        except ValidationError as error:
            broken: set[Path] = set()
            found = error.errors(include_url=False, include_input=False)
            paths = [faults.in_file(tuple(details["loc"])) for details in found]
            faults.broken |= {
                path for details, loc in zip(found, paths, strict=True) if (path := meant_by(details, loc, document))
            }
            for details, loc in zip(found, paths, strict=True):
                fault = None if faults.left_out(loc) else translate(details, loc, document)
                if fault is not None:
                    faults.append(fault)
                broken.add(_part_at_fault(details))
        if not isinstance(tree, dict):
            return None
        faults.broken |= broken
        tree = {**_NEUTRAL, **_without(tree, broken, (), faults)}
    return None


def _part_at_fault(error: ErrorDetails) -> Path:
    """The smallest part of the file without which the rest is valid."""
    loc = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return loc
    match loc:
        case ("containers", _, "networks" | "ports", _, *_):
            return loc[:4]
        case ("containers", _, _, *_):
            return loc[:3]
        case _:
            return loc[:2]


def _without(tree: Tree, broken: set[Path], here: Path, faults: FaultList) -> Tree:
    """The tree without the parts at the paths given; `faults` stores the new numbers of list items."""
    if isinstance(tree, dict):
        return {key: _without(value, broken, (*here, key), faults) for key, value in tree.items() if (*here, key) not in broken}
    if isinstance(tree, tuple):
        kept = [number for number in range(len(tree)) if (*here, number) not in broken]
        if len(kept) < len(tree):
            before = faults.kept.get(here, tuple(range(len(tree))))
            faults.kept[here] = tuple(before[number] for number in kept)
        return tuple(_without(tree[number], broken, (*here, number), faults) for number in kept)
    return tree
