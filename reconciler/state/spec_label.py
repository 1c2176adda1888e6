"""The labels of an engine's container: its owner, and its specification.

The steps that create a container, the backends of the engines and the command lines of a plan all write these labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.jsontext import parse_json

TOPOLOGY_LABEL, HOST_LABEL, NAME_LABEL, SPEC_LABEL = "netctl.topology", "netctl.host", "netctl.name", "netctl.spec"
LABEL_MAX_BYTES = 1 << 22
"""The limit for the text of a spec, a mark or a container's label. Any user who may start containers can write them."""
SPEC_VERSION = 1
"""The version of the label. A new key with a default needs no new version: older containers then have the default."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(_text(item) for item in value)


def _pairs(value: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    pairs = tuple(_texts(item) for item in value)
    if any(len(pair) != PAIR for pair in pairs):
        raise ValueError(f"{value!r} is no list of pairs")
    return pairs


PAIR = 2
_BY_TYPE: Mapping[object, Callable[[object], object]] = {
    str: _text,
    tuple[str, ...]: _texts,
    tuple[tuple[str, str], ...]: _pairs,
}
READERS = {name: _BY_TYPE[kind] for name, kind in get_type_hints(ContainerSpec).items()}
"""The parser of each field of a spec. It raises TypeError or ValueError for a value of another form."""


def render_spec(spec: ContainerSpec) -> str:
    """The text of the label `netctl.spec`: the fields that differ from their defaults."""
    held = {each.name: getattr(spec, each.name) for each in fields(spec) if getattr(spec, each.name) != each.default}
    return json.dumps({"version": SPEC_VERSION, **held}, separators=(",", ":"))


def parse_spec(text: str) -> ContainerSpec | None:
    """The spec in a label `netctl.spec`; a missing key has its default, and a label without a version has version 1.

    None for another version, an unknown key, or no spec at all. The container then differs from any desired one, and is
    re-created.
    """
    try:
        data = parse_json(text, LABEL_MAX_BYTES)
        if not isinstance(data, dict) or data.pop("version", SPEC_VERSION) != SPEC_VERSION:
            return None
        values: dict[str, Any] = {name: READERS[name](value) for name, value in data.items()}
        return ContainerSpec(**values)
    except (ValueError, KeyError, TypeError):
        return None


def labels_of(topology: str, host_key: str, container: str, spec: ContainerSpec) -> tuple[tuple[str, str], ...]:
    """The labels by which netctl recognises a container."""
    return (TOPOLOGY_LABEL, topology), (HOST_LABEL, host_key), (NAME_LABEL, container), (SPEC_LABEL, render_spec(spec))
