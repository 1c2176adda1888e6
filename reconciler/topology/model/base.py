"""The common part of all models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from reconciler.topology.scalars import describe, refuse


class Model(BaseModel):
    """The common part: no value is converted, no unknown key is accepted, and nothing changes later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _expect_list(value: Any) -> Any:
    """Reject a single value in place of a list, with advice how to write the list."""
    if isinstance(value, tuple):
        return value
    if value is None:
        raise refuse("has no value", "write a list, or remove the key")
    if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isprintable() and value != "":
        item = value if isinstance(value, int) else f'"{value}"'
        raise refuse(f"must be a list, but is {describe(value)}", f"write [{item}]")
    raise refuse(f"must be a list, but is {describe(value)}", "start each item with `- `")


def _refuse_null(value: Any) -> Any:
    """Reject a key without a value: None means a missing key."""
    if value is None:
        raise refuse("has no value", "give it one, or remove the key")
    return value


ListForm = BeforeValidator(_expect_list)
Given = BeforeValidator(_refuse_null)
Text = WithJsonSchema({"type": "string", "minLength": 1})
