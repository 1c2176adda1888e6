"""The JSON Schema of a topology file (draft 2020-12), with which an editor completes keys and marks mistakes.

It is generated from the model, the only definition of the format. `python -m reconciler.topology.schema` writes it to
schemas/topology.schema.json; a test keeps the two in step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.topology.model.file import TopologyModel

_NULL = {"type": "null"}
"""The type that pydantic allows for an optional value; a file must not have a key without a value."""

SCHEMA_PATH = Path("schemas/topology.schema.json")


def topology_schema() -> dict[str, Any]:
    """The schema, as values that `json` can write."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TopologyModel.model_json_schema(by_alias=True)}
    return _tidy({**schema, "title": "netctl topology, version 1"})  # type: ignore[no-any-return]


def render_schema() -> str:
    """The text of schemas/topology.schema.json."""
    return json.dumps(topology_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(value: Any) -> Any:
    """The schema without misleading parts: pydantic's titles (class and field names), and defaults that mean `not given`."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not _is_noise(key, item)}
    if "patternProperties" in kept:
        kept = {key: item for key, item in kept.items() if key != "propertyNames"} | {"additionalProperties": False}
    if "anyOf" in kept:
        options = [option for option in kept["anyOf"] if option != _NULL]
        kept = (
            {**kept, "anyOf": options} if len(options) > 1 else {**{k: v for k, v in kept.items() if k != "anyOf"}, **options[0]}
        )
    return {key: _tidy_properties(item) if key == "properties" else _tidy(item) for key, item in kept.items()}


def _tidy_properties(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: _tidy(item) for name, item in properties.items()}


def _is_noise(key: str, item: Any) -> bool:
    named_by_pydantic = key == "title" and isinstance(item, str) and not item.startswith("netctl")
    return named_by_pydantic or (key == "default" and item in (None, "", [], {}))


def main() -> None:
    """Write the schema below the current directory."""
    SCHEMA_PATH.parent.mkdir(exist_ok=True)
    SCHEMA_PATH.write_text(render_schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
