"""The JSON Schemas (draft 2020-12) of what `--json` prints, so that scripts know its form.

`python -m reconciler.render.schema` writes the files of `SCHEMAS`; tests keep them in step.
Pydantic makes them from the dataclasses. `state.codec` adds the tag of a record or a step, and fields that are always written.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from reconciler.graph.document import GraphDocument
from reconciler.plan.document import CODEC, PlanDocument
from reconciler.render.explain import ExplainDocument
from reconciler.render.exposure import ExposureDocument
from reconciler.render.listing import Listing
from reconciler.render.refusal import RefusalDocument
from reconciler.render.rehearsal import RehearsalDocument
from reconciler.render.status import StatusDocument
from reconciler.render.validation import ValidationDocument
from reconciler.render.verify import VerifyDocument
from reconciler.state.codec import listed_fields, tag_of
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject

PLAN_PATH, STATUS_PATH = Path("schemas/plan.schema.json"), Path("schemas/status.schema.json")
LISTING_PATH = Path("schemas/ls.schema.json")
ERROR_PATH = Path("schemas/error.schema.json")
VERIFICATION_PATH, VALIDATION_PATH = Path("schemas/verify.schema.json"), Path("schemas/validate.schema.json")

Schema = dict[str, Any]

REF: Schema = {
    "description": "The identity of one thing on one host; netns is empty for the host's own namespace.",
    "type": "object",
    "properties": {name: {"type": "string"} for name in Ref._fields},
    "required": list(Ref._fields),
    "additionalProperties": False,
}
"""Pydantic takes a named tuple for an array."""
SUBJECT: Schema = {"type": "string"}
"""For the same reason. It is written in place of each reference."""


class _Generator(GenerateJsonSchema):
    """The schema of what `state.codec` writes, where pydantic by itself would write something else."""

    def dataclass_schema(self, schema: Any) -> Schema:
        cls = schema["cls"]
        if cls in (Record, Step):
            classes: Iterable[type] = CODEC.kinds.values() if cls is Record else CODEC.steps.values()
            return {"anyOf": [{"$ref": f"#/$defs/{each.__name__}"} for each in classes]}
        made = super().dataclass_schema(schema)
        tag = {name: {"const": value} for name, value in tag_of(cls).items()}
        properties = tag | made["properties"]
        required = {*tag, *made.get("required", ()), *listed_fields(cls)}
        return {
            "description": inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " "),
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            "additionalProperties": False,
        }

    def default_schema(self, schema: Any) -> Schema:
        # A default is not written, so it is no business of a reader's.
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def sort(self, value: Any, _parent_key: str | None = None) -> Any:
        return value


def plan_schema() -> Schema:
    """Of `diff --json` and `diff --plan`."""
    schema = _json_schema(PlanDocument, "netctl plan, version 1", (*CODEC.kinds.values(), *CODEC.steps.values()))
    schema["$defs"]["Ref"] = REF
    return schema


def status_schema() -> Schema:
    """Of `status --json`."""
    return _json_schema(StatusDocument, "netctl status --json")


def graph_schema() -> Schema:
    """Of `graph --json`."""
    return _json_schema(GraphDocument, "netctl graph --json")


def rehearsal_schema() -> Schema:
    """Of `rehearse --json`."""
    return _json_schema(RehearsalDocument, "netctl rehearse --json")


def listing_schema() -> Schema:
    """Of `ls -o json`."""
    return _json_schema(Listing, "netctl ls -o json")


def verification_schema() -> Schema:
    """Of `verify --json`."""
    return _json_schema(VerifyDocument, "netctl verify --json")


def validation_schema() -> Schema:
    """Of `validate --json`."""
    return _json_schema(ValidationDocument, "netctl validate --json")


def error_schema() -> Schema:
    """Of every command with `--json` that ends with an error."""
    return _json_schema(RefusalDocument, "netctl --json, an error")


def explain_schema() -> Schema:
    """Of `explain --json`."""
    return _json_schema(ExplainDocument, "netctl explain --json")


def exposure_schema() -> Schema:
    """Of `exposure --json`."""
    return _json_schema(ExposureDocument, "netctl exposure --json")


def _json_schema(cls: type, title: str, held: Iterable[type] = ()) -> Schema:
    """The schema of a dataclass; `held` are classes of which it may hold some, as a `Record` or a `Step`."""
    adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]]
    adapters = [(each.__name__, "validation", TypeAdapter(each)) for each in (cls, *held)]
    found, shared = TypeAdapter.json_schemas(adapters, schema_generator=_Generator)
    definitions = {name: _with_subjects(schema) for name, schema in sorted(shared["$defs"].items()) if name != Subject.__name__}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **found[cls.__name__, "validation"],
        "$defs": definitions,
    }


def _with_subjects(schema: Any) -> Any:
    """The schema with `SUBJECT` in place of each reference to a subject."""
    if isinstance(schema, list):
        return [_with_subjects(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"$ref": f"#/$defs/{Subject.__name__}"}:
        return SUBJECT
    return {key: _with_subjects(value) for key, value in schema.items()}


def render_schema(schema: Schema) -> str:
    """The text of a file in schemas/."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


SCHEMAS: Mapping[Path, Callable[[], Schema]] = {
    PLAN_PATH: plan_schema,
    STATUS_PATH: status_schema,
    LISTING_PATH: listing_schema,
    VERIFICATION_PATH: verification_schema,
    VALIDATION_PATH: validation_schema,
    ERROR_PATH: error_schema,
    Path("schemas/explain.schema.json"): explain_schema,
    Path("schemas/exposure.schema.json"): exposure_schema,
    Path("schemas/graph.schema.json"): graph_schema,
    Path("schemas/rehearsal.schema.json"): rehearsal_schema,
}
"""The files, and what makes their content."""

if __name__ == "__main__":
    for path, make in SCHEMAS.items():
        path.write_text(render_schema(make()), encoding="utf-8")
