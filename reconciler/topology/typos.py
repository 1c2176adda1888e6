"""Mistakes in a value or key alone, whatever its key: variables, foreign quotes, odd spaces, a port with a space.

`load` calls `find_typos` before the model sees the values, so that each is reported once, in its own words. The values
of `env` and `command` are the program's, and not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reconciler.errors import Fault
from reconciler.topology.dashes import ODD_DASHES, explain_item
from reconciler.topology.messages import known_keys
from reconciler.topology.syntax import ODD_SPACES
from reconciler.topology.types import Path
from reconciler.topology.yaml import Document, Tree

_FOR_PROGRAMS = ("env", "command")


class _Typo(NamedTuple):
    pattern: re.Pattern[str]
    message: str
    help_text: str


_SLIPS = (
    _Typo(
        re.compile(r"\$\{.*|\$\(.*|\{\{.*|\$[A-Za-z_]\w*"),
        "no variables are filled in: `{found}` is taken as it stands",
        "write the value itself",
    ),
    _Typo(
        re.compile("^[\u00ab\u00bb\u2018-\u201f`]|[\u00ab\u00bb\u2018-\u201f`]$"),
        "`{found}` is not one of YAML's quotes",
        "write \" or ' in its place",
    ),
    _Typo(ODD_SPACES, "the character {code} only looks like a space", "replace it with a plain space, or remove it"),
    _Typo(
        re.compile(f"^[{ODD_DASHES}]"),
        "`{found}` ({code}) is not the sign `-`",
        "write `-` in its place; an item of a list starts with `- `",
    ),
    _Typo(
        re.compile("(?<=[0-9])[\u2010-\u2015\u2212](?=[0-9])"),
        "`{found}` ({code}) is not the sign for a range",
        "write `-` in its place",
    ),
)
_BRACE_IN_KEY = re.compile(r"(?P<key>[\w.-]+) +(?P<rest>[{\[].*)")
_LISTS = ("volumes", "env", "command", "policies", "cidr", "routes", "from", "on", "ports", "address", "hosts")
_PORT_KEY = re.compile(r"(?:(?:[0-9.]+|\[[0-9a-fA-F:]+\]):)?[0-9]+(?:-[0-9]+)?|[0-9]+(?:\.[0-9]+){3}")


_SIGNATURES = (
    ("services", (), "Compose", "services are `containers:`, networks `subnets:`, and `ports:` is the same"),
    ("apiVersion", (), "Kubernetes", "pods are `containers:`, and network policies `policies:`"),
    ("topology", ("nodes", "kinds"), "containerlab", "nodes are `containers:`, and links `subnets:`"),
    ("network", ("version", "renderer", "ethernets"), "netplan", "a host's own interfaces stay as they are"),
)
"""A top-level key of another tool's file that netctl's has not; its content there; the tool, and the equivalents here."""
_SECTIONS = ("hosts", "subnets", "containers")
_OWN_KEYS = (*_SECTIONS, "policies")


def find_typos(document: Document) -> None:
    """Add the faults to the document, and mark the faulty values as broken."""
    if fault := _foreign_file(document) or _odd_indentation(document, document.tree, ()):
        document.faults = [fault]
        document.readable = False
        return
    for section, key, below in _outdented(document.tree):
        if (*section, key) not in document.broken:
            message = f"`{below}` stands beside `{key}`, not below it"
            help_text = f"indent it further than `{key}`: by {document.keys[*section, key].column + 1} spaces"
            document.faults.append(Fault(document.keys[*section, below], message, help_text, is_of_place=True))
        document.broken |= {(*section, key), (*section, below)}
    for path, brace, value in _keys_with_braces(document.tree, ()):
        message = f"a key is followed by a colon: `{path[-1]}: {value}`"
        document.faults.append(Fault(document.keys[path], message, f"write `{brace['key']}: {brace['rest']}: {value}`"))
        document.broken.add(path)
    for path, text in _texts_for_lists(document.tree, ()):
        if explained := explain_item(text):
            document.faults.append(Fault(document.positions[path], *explained))
            document.broken.add(path)
    for path, text in _texts(document.tree, ()):
        if path in document.broken:
            continue
        for typo in _SLIPS if not text.isascii() or "$" in text or "{" in text or "`" in text else ():
            if found := typo.pattern.search(text):
                _report(document, path, typo, found[0])
                break
    document.broken.update(document.key_faults)
    for path, port in _spaced_ports(document.tree):
        message = f"a published port has no space in it: `{port.replace(':', ': ', 1) if port.count(':') == 1 else port}`"
        document.key_faults = {key: fault for key, fault in document.key_faults.items() if key[: len(path)] != path}
        help_text = f'write "{port}"' if isinstance(path[-1], int) else f'write ["{port}"]'
        document.faults.append(Fault(document.positions[path], message, help_text))
        document.broken.add(path)


def _foreign_file(document: Document) -> Fault | None:
    tree = document.tree if isinstance(document.tree, dict) else {}
    for key, inner, tool, words in _SIGNATURES if not any(own in tree for own in _OWN_KEYS) else ():
        value = tree.get(key)
        if isinstance(value, dict | str) and (not inner or any(each in value for each in inner)):
            help_text = f"`netctl init` writes a file to start from; here, {words}"
            return Fault(document.keys[key,], f"this is a file of {tool}, and netctl has a format of its own", help_text)
    return None


def _odd_indentation(document: Document, tree: Tree, path: Path) -> Fault | None:
    """A key that starts with a character that only looks like a space: YAML reads it as a letter, on another level."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        position = document.keys.get((*path, key))
        if position and (found := ODD_SPACES.match(key)):
            code = f"U+{ord(found[0]):04X}"
            message = f"line {position.line} is indented with {code}: the character {code} only looks like a space"
            return Fault(position, message, "replace it with plain spaces")
        if fault := _odd_indentation(document, value, (*path, key)):
            return fault
    return None


def _outdented(tree: Tree) -> Iterator[tuple[Path, str, str]]:
    """Keys in the column of their parent, which then has no value: path, own key, and parent's key."""
    if not isinstance(tree, dict):
        return
    top = known_keys(())
    for key, below in _empty_before(tree, lambda key: key not in top and isinstance(tree[key], dict)):
        if key in _SECTIONS:
            yield (), key, below
    for section in _SECTIONS:
        if isinstance(entries := tree.get(section), dict):
            known = known_keys((section, ""))
            yield from (((section,), key, below) for key, below in _empty_before(entries, lambda key: key in known))  # noqa: B023


def _empty_before(entries: dict[str, Tree], is_below: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Each key without a value, with each of the keys right after it that belong below one."""
    owner = ""
    for key, value in entries.items():
        if owner and is_below(key):
            yield owner, key
        else:
            owner = key if value is None else ""


def _report(document: Document, path: Path, typo: _Typo, found: str) -> None:
    is_key = path not in document.positions or path[-1:] == ("[key]",)
    owner = path[:-1] if is_key else path
    position = document.keys[owner] if is_key else document.positions[owner]
    message = typo.message.format(found=found[:40], code=f"U+{ord(found[0]):04X}")
    document.faults.append(Fault(position, message, typo.help_text))
    document.broken.add(owner)


def _texts(tree: Tree, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text of the file except those for programs; the path of a key's text ends with `[key]`."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, tuple):
        for number, item in enumerate(tree):
            yield from _texts(item, (*path, number))
    elif isinstance(tree, dict):
        for key, item in tree.items():
            if not key.isascii() or "$" in key:
                yield (*path, key, "[key]"), key
            if not (len(path) == 2 and path[0] == "containers" and key in _FOR_PROGRAMS):
                yield from _texts(item, (*path, key))


def _keys_with_braces(tree: Tree, path: Path) -> Iterator[tuple[Path, re.Match[str], Tree]]:
    """`front {address: auto}`, which YAML reads as the key `front {address` with the text `auto}`."""
    for key, value in tree.items() if isinstance(tree, dict) and path[2:3] not in (("env",), ("command",)) else ():
        if (found := _BRACE_IN_KEY.fullmatch(key)) and not isinstance(value, dict | tuple):
            yield (*path, key), found, value
        yield from _keys_with_braces(value, (*path, key))


def _texts_for_lists(tree: Tree, path: Path) -> Iterator[tuple[Path, str]]:
    """Texts in place of a list: without a dash and a space, YAML reads all items as one text."""
    if isinstance(tree, str) and path and path[-1] in _LISTS:
        yield path, tree
    elif isinstance(tree, tuple):
        for number, item in enumerate(tree if path[-1:] != ("command",) else ()):
            yield from _texts_for_lists(item, (*path, number))
    elif isinstance(tree, dict):
        for key, item in tree.items() if path[-1:] != ("env",) else ():
            yield from _texts_for_lists(item, (*path, key))


def _spaced_ports(tree: Tree) -> Iterator[tuple[Path, str]]:
    """`8080: 80` in a list of ports: for YAML, a mapping with one key."""
    containers = tree.get("containers") if isinstance(tree, dict) else None
    for name, container in containers.items() if isinstance(containers, dict) else ():
        items = container.get("ports") if isinstance(container, dict) else None
        if isinstance(items, dict) and len(items) == 1 and _PORT_KEY.fullmatch(key := next(iter(items))):
            yield ("containers", name, "ports"), f"{key}:{items[key]}"
        for number, item in enumerate(items) if isinstance(items, tuple) else ():
            key = next(iter(item)) if isinstance(item, dict) and len(item) == 1 else ""
            if _PORT_KEY.fullmatch(key) and isinstance(item[key], int | str):
                yield ("containers", name, "ports", number), f"{key}:{item[key]}"
