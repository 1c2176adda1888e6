"""pydantic's errors as faults: a sentence in the terms of the file, with its position and advice.

`load` calls `translate` with pydantic's errors. Errors of netctl's own validators (`scalars.refuse`) have their
sentence; for pydantic's own types, this module has it.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from reconciler.errors import Fault, Position
from reconciler.topology.foreign import find_key, find_value
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.model.hosts import HostModel
from reconciler.topology.model.networks import NetworkModel, RouteModel
from reconciler.topology.model.policies import PolicyModel
from reconciler.topology.model.ports import PublicationModel
from reconciler.topology.model.subnets import SubnetModel
from reconciler.topology.scalars import TRUTHS, describe, shorten, suggest
from reconciler.topology.types import Path
from reconciler.topology.yaml import INT_DIGITS_MAX, Document

_MISSING_HELP = {
    "version": "write `version: 1`",
    "name": "write `name: shop`; it marks everything that netctl makes for this file",
    "hosts": "write `hosts: {alpha: {connect: local}}` for this machine",
    "connect": "write `connect: local` (this machine), `connect: lab` (a namespace on it) or `connect: ssh://[user@]name[:port]`",
    "cidr": "write `cidr: 10.44.0.0/24`, with a prefix that nothing else uses",
    "listen": "write `listen: 8080`, the port of the host",
    "allow": "write `allow: ` and who may connect: a container, a subnet, `host` or `outside`",
    "to": "write `to: ` and to whom: a container, a subnet, `host` or `outside`",
}
_MISSING_IN_ROUTE = {
    "to": "write `to: 10.9.0.0/16`, the network to which the route leads",
    "via": "write `via: 10.44.0.9`, the address of the next hop in this subnet",
}

_SECTION_HELP = {
    "hosts": "write one entry per host: `alpha: {connect: local}`",
    "subnets": "write one entry per subnet: `front: {cidr: 10.44.0.0/24}`",
    "containers": "write one entry per container: `web: {networks: {front: auto}}`",
    "policies": "write a list of entries such as `- {allow: web, to: back, ports: [80/tcp]}`",
    "networks": "write one entry per subnet: `front: auto`",
    "routes": "write a list of entries such as `- {to: 10.9.0.0/16, via: 10.44.0.9}`",
}


_NO_COLON = re.compile(r"(?P<key>[A-Za-z_][\w-]*)(?: *= *| +)(?P<value>[^\s=].*)")
_OF_PLACE = ("extra_forbidden", "missing", "model_type", "dict_type", "tuple_type")
"""pydantic's errors that a line in a wrong column may cause."""


def translate(error: ErrorDetails, loc: Path, document: Document) -> Fault | None:
    """The fault for one of pydantic's errors, at `loc` in the file; None if it repeats a fault of the reader."""
    path, is_key = _path_of(loc)
    if any(path[:length] in document.broken for length in range(len(path) + 1)):
        return None
    value = _lookup(document.tree, path)
    message, help_text = _sentence(error, path, value, is_key)
    is_of_place = value is None or error["type"] in _OF_PLACE or _is_key_as_name(path)
    if is_key or error["type"] == "extra_forbidden":
        return Fault(key_position(document, path), message, help_text, is_of_place)
    return Fault(value_position(document, (*path, *error.get("ctx", {}).get("at", ()))), message, help_text, is_of_place)


def _is_key_as_name(path: Path) -> bool:
    """Whether a key of a container is at the position of a name of one of its networks."""
    return path[2:3] == ("networks",) and len(path) > 3 and path[3] in known_keys(path[:2])


def meant_by(error: ErrorDetails, path: Path, document: Document) -> Path | None:
    """The path that an unknown key means, if the file does not have that, too: its absence is then no further fault."""
    if error["type"] != "extra_forbidden":
        return None
    meant, _ = _meaning(path)
    here = (*path[:-1], meant)
    return here if meant and here not in document.keys else None


def value_position(document: Document, path: Path) -> Position:
    """The position of the value at `path`, or of the nearest thing around it. The item of a short form has no key."""
    while path and path not in document.positions:
        short = (*path[:-2], path[-1])
        path = short if isinstance(path[-1], int) and short in document.positions else path[:-1]
    return document.positions.get(path, Position(1, 1))


def key_position(document: Document, path: Path) -> Position:
    """The position of the key of the value at `path`; of a value without a key (a list's item), its own."""
    return document.keys.get(path) or value_position(document, path)


def _path_of(loc: tuple[int | str, ...]) -> tuple[Path, bool]:
    if loc and loc[-1] == "[key]":
        return tuple(loc[:-1]), True
    return tuple(loc), False


def _lookup(tree: Any, path: Path) -> Any:
    """The value at the path; the short form if the path leads to one of its parts."""
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, tuple) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            break
    return tree


def _sentence(error: ErrorDetails, path: Path, value: Any, is_key: bool) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    name = _name(path)
    if value is None and path and ":" in str(path[-1]):
        return _glued_key(str(path[-1]))
    lone = value if kind in ("model_type", "dict_type") else path[-1] if value is None and path else None
    if isinstance(lone, str) and re.fullmatch(r"[a-z][\w-]*:[^\s:/]\S*", lone):
        return _glued_key(lone)
    if isinstance(lone, str) and (found := _NO_COLON.fullmatch(lone)):
        return f"a key is followed by a colon: `{shorten(lone)}`", _colon_help(path, found)
    if kind == "netctl":
        subject = f"the name `{shorten(str(path[-1]))}`" if is_key else name
        is_no_list = isinstance(value, str) and path[-1:] in (("routes",), ("policies",))
        return f"{subject} {context['message']}", _SECTION_HELP[str(path[-1])] if is_no_list else context["help"]
    if kind == "missing":
        where = _owner_name(path)
        helps = _MISSING_IN_ROUTE if _section_of(path[:-1]) == "routes" else _MISSING_HELP
        return f"`{path[-1]}` is missing{where}", helps.get(str(path[-1]), f"write `{path[-1]}: …`")
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"{name} must be one of {' | '.join(options)}, but is {describe(value)}", _literal_help(path, value, options)
    if value is None:
        section_help = _SECTION_HELP.get(str(path[-1]) if path else "") or _SECTION_HELP.get(
            str(path[-2]) if len(path) > 1 else "", ""
        )
        return f"{name} has no value", f"{section_help + ', ' if section_help else 'give it one, '}or remove the key"
    if kind in ("greater_than_equal", "less_than_equal"):
        word = "at least" if kind == "greater_than_equal" else "at most"
        limit = context.get("ge", context.get("le"))
        return f"{name} must be {word} {limit}, but is {value}", f"write a number that is {word} {limit}"
    wanted = _WANTED.get(kind, "of another type")
    return f"{name} must be {wanted}, but is {describe(value)}", _type_help(kind, path, value)


def _glued_key(key: str) -> tuple[str, str]:
    name, _, value = key.partition(":")
    return f"a colon needs a space after it: `{shorten(key)}`", f"write `{name}: {value}`"


def _colon_help(path: Path, found: re.Match[str]) -> str:
    words = found[0].split()
    if len(words) > 2 and len(words) % 2 == 0 and path[-1] == "networks":
        pairs = " and ".join(f"`{key}: {value}`" for key, value in zip(words[::2], words[1::2], strict=True))
        return f"write {pairs}, each in a line of its own"
    return f"write `{found['key']}: {found['value']}`"


def _literal_help(path: Path, value: Any, options: list[str]) -> str:
    section, key = _section_of(path[:-1]), str(path[-1])
    guess = suggest(value.lower(), options) if isinstance(value, str) else ""
    return find_value(section, key, value) or guess or f"write `{key}: {options[0]}`, or another of them"


_WANTED = {
    "model_type": "a mapping (`key: value`)",
    "dict_type": "a mapping (`key: value`)",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
}


def _type_help(kind: str, path: Path, value: Any) -> str:
    if kind in ("model_type", "dict_type"):
        return _mapping_help(path, value)
    if kind == "int_type" and isinstance(value, str) and value.isdecimal() and len(value) <= INT_DIGITS_MAX:
        return f"write it without quotes: {int(value)}"
    if kind == "int_type" and isinstance(value, str) and (found := re.fullmatch(r"([0-9]+) ?[A-Za-z]+", value)):
        return f"write it without a unit: {int(found[1])}"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if kind == "int_type" and value == "auto":
        return "remove it: the default is what `auto` would mean"
    if kind == "bool_type" and (truth := TRUTHS.get(str(value).lower())):
        return f"write {truth}; in YAML 1.2 only true and false are truth values"
    return f"write {_WANTED.get(kind, 'a value of the right type')}"


def _mapping_help(path: Path, value: Any) -> str:
    names = value if isinstance(value, tuple) else (value,)
    names = tuple(next(iter(each)) if isinstance(each, dict) and len(each) == 1 else each for each in names)
    if path[-1:] == ("networks",) and names and all(isinstance(name, str) and name.isascii() for name in names):
        return f"write `networks: {{{', '.join(f'{name}: auto' for name in names)}}}`"
    for part in reversed(path[-2:]):
        if str(part) in _SECTION_HELP:
            return _SECTION_HELP[str(part)]
    return "write its keys below it, indented by two spaces" if path else "start with `version: 1`, `name: shop` and `hosts:`"


def _unknown_key(path: Path) -> tuple[str, str]:
    key, listed = str(path[-1]), ", ".join(known_keys(path[:-1]))
    if key.partition(":")[0] in known_keys(path[:-1]):
        return _glued_key(key)
    _, help_text = _meaning(path)
    is_sure = help_text and not help_text.startswith("did")
    message = f"unknown key `{shorten(key)}`{_owner_name(path)}"
    return message, help_text if is_sure else f"{help_text} The keys here are {listed}".strip()


@lru_cache
def _near_key(key: str, fields: tuple[str, ...]) -> str:
    """The most similar key; "" if none is. One with few common letters is not even compared."""
    letters = set(key)
    alike = [field for field in fields if 2 * len(letters & set(field)) >= len(letters)]
    return next(iter(difflib.get_close_matches(key, alike, n=1, cutoff=0.6)), "") if alike else ""


def _meaning(path: Path) -> tuple[str, str]:
    """The intended key for an unknown one ("" if that is unknown), and the advice."""
    key, fields = str(path[-1]), known_keys(path[:-1])
    if (name := key.partition(":")[0]) in fields:
        return name, ""
    if word := find_key(_section_of(path[:-1]), key):
        return word.meant, word.help_text
    if near := _near_key(key.lower(), fields):
        return near, f"did you mean `{near}`?"
    owners = [what for section, what in _OWNERS.items() if key in known_keys(_SECTION_PATHS[section])]
    return "", f"`{key}` is a key of {' and of '.join(owners)}; move it there" if owners else ""


_OWNERS = {
    "hosts": "a host",
    "subnets": "a subnet",
    "containers": "a container",
    "networks": "a network of a container",
    "routes": "a route",
    "ports": "a published port",
    "policies": "a policy",
}
_SECTION_PATHS: dict[str, Path] = {
    "hosts": ("hosts", ""),
    "subnets": ("subnets", ""),
    "containers": ("containers", ""),
    "networks": ("containers", "", "networks", ""),
    "routes": ("containers", "", "networks", "", "routes", 0),
    "ports": ("containers", "", "ports", 0),
    "policies": ("policies", 0),
}


def _section_of(path: Path) -> str:
    """The section of the mapping at `path`, by its name in the tables of foreign words."""
    words = [part for part in path if part in ("networks", "routes", "ports")]
    return str(words[-1] if words and path[0] == "containers" and len(path) > 2 else path[0]) if path else ""


def known_keys(path: Path) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have, in the order of the model."""
    model: type[BaseModel] = TopologyModel
    match path:
        case ("hosts", _):
            model = HostModel
        case ("subnets", _):
            model = SubnetModel
        case ("containers", _):
            model = ContainerModel
        case ("containers", _, "networks", _):
            model = NetworkModel
        case ("containers", _, "networks", _, "routes", _):
            model = RouteModel
        case ("containers", _, "ports", _):
            model = PublicationModel
        case ("policies", _):
            model = PolicyModel
    return _keys_of(model)


@lru_cache
def _keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _owner_name(path: Path) -> str:
    """` in host alpha`: the owner of the last part of the path."""
    match path[:-1]:
        case ("containers", str(name), "networks", str(network), "routes", *_):
            return f" in a route of container `{shorten(name)}`, network `{shorten(network)}`"
        case ("containers", str(name), "networks", str(network), *_):
            return f" in network `{shorten(network)}` of container `{shorten(name)}`"
        case ("hosts" | "subnets" | "containers" as section, str(name), *_):
            return f" in {section[:-1]} `{shorten(name)}`"
        case ("policies", *_):
            return " in a policy"
        case _:
            return ""


def _name(path: Path) -> str:
    """The name of the value in a sentence: its key, or the thing that it defines."""
    match path:
        case ():
            return "the file"
        case ("hosts" | "subnets" | "containers" as section, str(name)):
            return f"the {section[:-1]} `{shorten(name)}`"
        case ("policies", int()):
            return "the policy"
        case ("containers", _, "ports", int()):
            return "the published port"
        case (*_, "networks", str(name)):
            return f"the address in `{shorten(name)}`"
        case (*_, str(key), int()):
            return f"an item of `{key}`"
    return f"`{shorten(str(path[-1]))}`"
