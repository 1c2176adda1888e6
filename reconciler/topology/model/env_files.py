"""The files of environment variables that a container names, as they stand in the topology file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from reconciler.topology.scalars import describe, expect_text, parse_item, refuse

_KEYS = {"path", "required"}


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file; its path is that beside the topology file. One that is not `required` may be missing."""

    path: str
    required: bool = True


def parse_env_files(value: Any) -> tuple[EnvFile, ...]:
    """A path, or a list of paths or of `{path: …, required: false}`."""
    if not isinstance(value, tuple):
        return (_parse_env_file(value),)
    return tuple(parse_item(_parse_env_file, item, number) for number, item in enumerate(value))


def _parse_env_file(value: Any) -> EnvFile:
    required: Any = True
    if isinstance(value, dict):
        if not value.keys() <= _KEYS or "path" not in value:
            raise refuse("must be a path, or a mapping with `path`", "write {path: app.env, required: false}")
        value, required = value["path"], value.get("required", True)
    if not isinstance(required, bool):
        raise refuse(f"must have true or false for `required`, but has {describe(required)}", "write `required: false`")
    path = expect_text(value, "the path of a file", "write one such as app.env")
    if "\0" in path:
        raise refuse("has a NUL, which no path can hold", "remove it")
    return EnvFile(path, required)


_PATH = {"type": "string", "minLength": 1}
_FILE = {
    "type": "object",
    "properties": {"path": _PATH, "required": {"type": "boolean"}},
    "required": ["path"],
    "additionalProperties": False,
}
EnvFiles = Annotated[
    tuple[EnvFile, ...],
    PlainValidator(parse_env_files),
    WithJsonSchema({"anyOf": [_PATH, {"type": "array", "items": {"anyOf": [_PATH, _FILE]}}]}),
]
