"""The JSON Schema (draft 2020-12) of the JSON form of dataclasses, so that scripts know what `--json` prints.

It follows from the dataclasses by the same rules as `state.codec`. `python -m reconciler.plan.schema` writes
schemas/plan.schema.json; `render.status` uses `json_schema` for its own document. Tests keep the files in step.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reconciler.kinds import KINDS
from reconciler.plan.document import PlanDocument
from reconciler.state.codec import NO_DEFAULT, fields_of, listed_fields, step_types, tag_of
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.steps.step import Step

SCHEMA_PATH = Path("schemas/plan.schema.json")

SCALARS = {str: "string", int: "integer", bool: "boolean", float: "number", type(None): "null"}

Schema = dict[str, Any]


def json_schema(cls: type, title: str) -> Schema:
    """The schema of a dataclass's JSON form, with those of its parts under `$defs`."""
    builder = _Builder()
    root = builder.schema_of(cls)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **root,
        "$defs": dict(sorted(builder.definitions.items())),
    }


class _Builder:
    """Collects a definition for each dataclass that it meets."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def schema_of(self, kind: Any) -> Schema:
        """The schema of one type. TypeError if it has no JSON form."""
        if kind in SCALARS:
            return {"type": SCALARS[kind]}
        if kind is Record:
            return self._named("Record", lambda: self._one_of(KINDS))
        if kind is Step:
            return self._named("Step", lambda: self._one_of(step_types().values()))
        if kind is Ref:
            return self._named("Ref", self._ref)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._named(kind.__name__, lambda: self._object(kind))
        return self._compound(kind)

    def _compound(self, kind: Any) -> Schema:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is tuple and arguments[-1] is Ellipsis:
            return {"type": "array", "items": self.schema_of(arguments[0])}
        if origin is tuple:
            return {"type": "array", "prefixItems": [self.schema_of(each) for each in arguments], "items": False}
        if origin is frozenset:
            return {"type": "array", "items": self.schema_of(arguments[0]), "uniqueItems": True}
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin in (types.UnionType, typing.Union):
            return {"anyOf": [self.schema_of(each) for each in arguments]}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.schema_of(arguments[1])}
        raise TypeError(f"{kind!r} has no JSON form")

    def _named(self, name: str, make: Any) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # a definition may refer to itself
            self.definitions[name] = make()
        return {"$ref": f"#/$defs/{name}"}

    def _one_of(self, classes: Iterable[type]) -> Schema:
        return {"anyOf": [self.schema_of(each) for each in classes]}

    def _object(self, cls: type) -> Schema:
        properties: Schema = {name: {"const": value} for name, value in tag_of(cls).items()}
        required = list(properties)
        present = listed_fields(cls)
        for name, default, kind in fields_of(cls):
            properties[name] = self.schema_of(kind)
            if default is NO_DEFAULT or name in present:
                required.append(name)
        description = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        return {
            "description": description,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def _ref(self) -> Schema:
        names = ["kind", "netns", "name"]
        return {
            "description": "The identity of one thing on one host; netns is empty for the host's own namespace.",
            "type": "object",
            "properties": {name: {"type": "string"} for name in names},
            "required": names,
            "additionalProperties": False,
        }


def render_schema() -> str:
    """The text of schemas/plan.schema.json."""
    return json.dumps(json_schema(PlanDocument, "netctl plan, version 1"), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(render_schema())
