"""The labels of an engine's container: its owner, and its specification.

The steps that create a container, the backends of the engines and the command lines of a plan all write these labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from reconciler.state.container_spec import HELD, LOST, OWN, ContainerSpec, HolderSpec
from reconciler.state.grammar import is_label
from reconciler.state.jsontext import parse_json
from reconciler.state.ref import container_of, parse_netns_path

TOPOLOGY_LABEL, HOST_LABEL, NAME_LABEL, SPEC_LABEL = "netctl.topology", "netctl.host", "netctl.name", "netctl.spec"
ROLE_LABEL, HOLDER_ROLE = "netctl.role", "network"
"""The label of a container that is not one of the file, and its value for a holder."""
NETWORK_LABEL = "netctl.network"
"""The network namespace that a container joins; missing if it has one of its own."""
LABEL_MAX_BYTES = 1 << 22
"""The limit for the text of a spec, a mark or a container's label. Any user who may start containers can write them."""
SPEC_VERSION = 1
"""The version of the label. A new key with a default needs no new version: older containers then have the default."""


S = TypeVar("S")

Reader = Callable[[object], Any]
"""Makes a value of what JSON holds. It raises TypeError or ValueError for a value of another form."""


def _reader(kind: Any) -> Reader:
    """The reader of an annotation's values: scalars, dataclasses of them, tuples, and each of these or None."""
    if kind in (str, int, bool):
        return partial(_expect, kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return partial(_read_object, kind, {name: _reader(each) for name, each in get_type_hints(kind).items()})
    arguments = get_args(kind)
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return partial(_read_list, _reader(arguments[0]))
    if get_origin(kind) is tuple:
        return partial(_read_row, tuple(map(_reader, arguments)))
    if arguments[1:] == (NoneType,):
        return _reader(arguments[0])  # the default is left out, so None never stands in a label
    raise TypeError(f"no reader for {kind}")


def _expect(kind: type, value: object) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _read_list(read: Reader, value: object) -> tuple[Any, ...]:
    return tuple(read(item) for item in _expect(list, value))


def _read_row(readers: tuple[Reader, ...], value: object) -> tuple[Any, ...]:
    return tuple(read(item) for read, item in zip(readers, _expect(list, value), strict=True))


def _read_object(kind: type, readers: Mapping[str, Reader], value: object) -> Any:
    return kind(**{name: readers[name](item) for name, item in _expect(dict, value).items()})


_read_spec: Callable[[object], ContainerSpec] = _reader(ContainerSpec)
_read_holder_spec: Callable[[object], HolderSpec] = _reader(HolderSpec)


def render_spec(spec: ContainerSpec | HolderSpec) -> str:
    """The text of the label `netctl.spec`: the fields that differ from their defaults."""
    return json.dumps({"version": SPEC_VERSION, **_held(spec)}, separators=(",", ":"), default=_held)


def _held(value: Any) -> dict[str, Any]:
    return {each.name: held for each in fields(value) if (held := getattr(value, each.name)) != each.default}


def parse_spec(text: str) -> ContainerSpec | None:
    """The spec in a label `netctl.spec`; a missing key has its default, and a label without a version has version 1.

    None for another version, an unknown key, or no spec at all. The container then differs from any desired one, and is
    re-created.
    """
    return _parse(_read_spec, text)


def parse_holder_spec(text: str) -> HolderSpec | None:
    """The same of a holder."""
    return _parse(_read_holder_spec, text)


def _parse(read: Callable[[object], S], text: str) -> S | None:
    try:
        data = parse_json(text, LABEL_MAX_BYTES)
        if not isinstance(data, dict) or data.pop("version", SPEC_VERSION) != SPEC_VERSION:
            return None
        return read(data)
    except (ValueError, KeyError, TypeError):
        return None


def labels_of(topology: str, host_key: str, container: str, spec: ContainerSpec, joins: str = "") -> tuple[tuple[str, str], ...]:
    """The labels by which netctl recognises a container."""
    labels = (TOPOLOGY_LABEL, topology), (HOST_LABEL, host_key), (NAME_LABEL, container), (SPEC_LABEL, render_spec(spec))
    return (*labels, (NETWORK_LABEL, joins)) if joins else labels


def holder_labels_of(topology: str, host_key: str, container: str, spec: HolderSpec) -> tuple[tuple[str, str], ...]:
    """The same of a holder."""
    labels = (TOPOLOGY_LABEL, topology), (HOST_LABEL, host_key), (NAME_LABEL, container), (SPEC_LABEL, render_spec(spec))
    return (*labels, (ROLE_LABEL, HOLDER_ROLE))


def network_of(label: str, container: str, held: Mapping[str, str]) -> tuple[str, str]:
    """The network of a container (`state.container_spec`) by its label, and the other container whose namespace it joins, if any.

    `held` has the containers for which netctl holds namespaces, by the labels of those that join them.
    """
    if not label:
        return OWN, ""
    if label not in held:
        return LOST, ""
    return HELD, "" if held[label] == container else held[label]


def path_label_of(topology: str, label: str) -> dict[str, str]:
    """`held` for a label that is a path: the one container that has a namespace there, if it is one of the topology."""
    name = container_of(parse_netns_path(topology, label))
    return {label: name} if is_label(name) else {}
