"""The topologies that people start from are right, and so is the schema that their editors use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.topology.load import load_topology
from reconciler.topology.schema import render_schema
from reconciler.topology.yaml import parse_document

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "topology.yaml", *sorted((ROOT / "examples").glob("*.yaml"))]
SCHEMA: dict[str, Any] = json.loads(render_schema())


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid, for the keywords of JSON Schema that ours uses."""
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], value)
    if "anyOf" in schema and not any(accepts(option, value) for option in schema["anyOf"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    return _accepts_type(schema, value)


def _accepts_type(schema: dict[str, Any], value: Any) -> bool:
    match schema.get("type"):
        case "string":
            in_length = isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
            return in_length and re.search(schema.get("pattern", ""), value) is not None
        case "integer":
            if not isinstance(value, int) or isinstance(value, bool):
                return False
            return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        case "boolean":
            return isinstance(value, bool)
        case "array":
            in_size = isinstance(value, tuple) and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
            return in_size and all(accepts(schema["items"], item) for item in value)
        case "object":
            return isinstance(value, dict) and _accepts_keys(schema, value)
        case _:
            return True


def _accepts_keys(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    if not set(schema.get("required", ())) <= set(value) or len(value) < schema.get("minProperties", 0):
        return False
    for key, item in value.items():
        inner = schema.get("properties", {}).get(key)
        patterns = [found for pattern, found in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        rule = inner or (patterns[0] if patterns else schema.get("additionalProperties", {}))
        if rule is False or not accepts(rule, item):
            return False
    return True


def test_there_are_examples() -> None:
    """One per thing to learn."""
    assert len(FILES) >= 8


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_example(file: Path) -> None:
    """It loads, says what it shows, and names the schema, which accepts it."""
    text = file.read_text()
    load_topology(str(file))
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == ROOT / "schemas/topology.schema.json"
    assert text.splitlines()[2].startswith("# ")
    document, _ = parse_document(text.encode())
    assert accepts(SCHEMA, document.tree)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2), (("name",), "Shop"), (("hosts",), {}), (("hosts", "outside"), {"connect": "lab"}), (("more",), 1),
        (("hosts", "alpha", "connect"), "telnet"), (("subnets", "front", "mode"), "natt"), (("subnets", "front", "mtu"), 100),
        (("containers", "web", "replicas"), None), (("containers", "web", "image"), 7), (("containers", "web", "hots"), "a"),
        (("containers", "web", "networks", "front"), {"adress": "auto"}), (("containers", "web", "ports"), (True,)),
        (("containers", "web", "ports"), ("a:b:c:d",)), (("policies",), ({"allow": "web"},)),
    ],
)  # fmt: skip
def test_schema_refuses(path: tuple[str, ...], value: Any) -> None:
    """An editor marks what netctl would refuse, as far as a schema can say it."""
    document, _ = parse_document(FILES[0].read_bytes())
    owner = document.tree
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    assert not accepts(SCHEMA, document.tree)


def test_schema_is_in_step() -> None:
    """schemas/topology.schema.json is what the model says: else run `python -m reconciler.topology.schema`."""
    assert (ROOT / "schemas/topology.schema.json").read_text() == render_schema()


def test_schema_explains_every_key() -> None:
    """Every key has a description, for the editor to show."""
    for name, definition in SCHEMA["$defs"].items():
        options = [definition, *definition.get("anyOf", [])]
        for properties in (option["properties"] for option in options if "properties" in option):
            for key, schema in properties.items():
                assert schema.get("description"), f"{name}.{key}"


def test_first_topology_of_the_readme() -> None:
    """What the README shows is a topology (it is yaml, and the schema accepts it)."""
    shown = re.findall(r"```yaml\n(version: 1\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown
    for text in shown:
        assert yaml.safe_load(text)
        document, _ = parse_document(text.encode())
        assert accepts(SCHEMA, document.tree)
