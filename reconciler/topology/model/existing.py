"""The key `existing` of a container: the name of one that another program runs, or the labels of several."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from reconciler.state.grammar import ENGINE_NAME
from reconciler.state.members import Selector
from reconciler.topology.scalars import TRUTHS, describe, expect_text, parse_item, refuse, shorten

_FORMS = "write `true`, a name, `{compose: project/service}`, or `{label: key=value}`"
_SERVICE = re.compile(r"([a-z0-9][a-z0-9_-]*)/([a-zA-Z0-9._-]+)")
"""A project's name and a service's, as Compose checks them (compose-spec, schema/compose-spec.json)."""
_LABEL = re.compile(r"([^\s=][^=\0\n]*)=([^\0\n]*)")


def parse_existing(value: Any) -> bool | str | Selector:
    """true: the engine's container of the same name; text: the one with that name; a mapping: those with these labels."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return _parse_selector(value)
    if value in (0, 1):
        raise refuse(f"must be true, or the name of a container, but is {describe(value)}", f"write {str(bool(value)).lower()}")
    name = expect_text(value, "true, or the name of a container", _FORMS, ENGINE_NAME)
    if truth := TRUTHS.get(name.lower()):
        raise refuse(f"must be true, or the name of a container, but is the text `{name}`", f"write {truth}")
    if not re.fullmatch(ENGINE_NAME, name):
        written = f"write {{compose: {name}}}, if that is a project and a service of Compose" if _SERVICE.fullmatch(name) else ""
        help_text = written or "write the name as the engine lists it, or true"
        raise refuse(f"is not a container name: `{shorten(name)}`", help_text)
    return name


def _parse_selector(value: dict[str, Any]) -> Selector:
    match tuple(value):
        case ("compose",):
            return parse_item(_parse_service, value["compose"], "compose")
        case ("label",):
            return parse_item(_parse_labels, value["label"], "label")
    raise refuse("must be {compose: project/service} or {label: key=value} if it is a mapping", _FORMS)


def _parse_service(value: Any) -> Selector:
    help_text = "write the project and the service, such as shop/web"
    text = expect_text(value, "a project and a service of Compose", help_text)
    match = _SERVICE.fullmatch(text)
    if match is None:
        raise refuse(f"is not a project and a service of Compose: `{shorten(text)}`", help_text)
    return Selector.of_service(match[1], match[2])


def _parse_labels(value: Any) -> Selector:
    if not isinstance(value, tuple):
        return Selector((_parse_label(value),))
    if not value:
        raise refuse("is an empty list, which would be every container", "write `label: key=value`")
    labels = tuple(parse_item(_parse_label, item, number) for number, item in enumerate(value))
    for number, (key, _) in enumerate(labels):
        if key in (one for one, _ in labels[:number]):
            raise refuse(f"has the label `{shorten(key)}` twice, and a container has it once", "remove one of them", (number,))
    return Selector(labels)


def _parse_label(value: Any) -> tuple[str, str]:
    text = expect_text(value, "a label and its value", "write key=value, or a list of them")
    match = _LABEL.fullmatch(text)
    if match is None:
        raise refuse(f"is not a label and its value: `{shorten(text)}`", "write key=value")
    return match[1], match[2]


_LABEL_SCHEMA = {"type": "string", "pattern": "^[^=\\s][^=]*=", "examples": ["tier=front"]}
Existing = Annotated[
    bool | str | Selector,
    PlainValidator(parse_existing),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"compose": {"type": "string", "pattern": f"^{_SERVICE.pattern}$", "examples": ["shop/web"]}},
                    "required": ["compose"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"label": {"anyOf": [_LABEL_SCHEMA, {"type": "array", "minItems": 1, "items": _LABEL_SCHEMA}]}},
                    "required": ["label"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
