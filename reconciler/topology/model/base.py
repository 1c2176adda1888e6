"""What all parts of the model share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from reconciler.topology.scalars import describe, refuse


class Model(BaseModel):
    """What all parts share: nothing is converted, nothing unknown is let through, nothing changes later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _expect_list(value: Any) -> Any:
    """Reject a single value in the place of a list, and say how to write the list."""
    if isinstance(value, tuple):
        return value
    if value is None:
        raise refuse("has no value", "write a list, or remove the key")
    if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isprintable() and value != "":
        item = value if isinstance(value, int) else f'"{value}"'
        raise refuse(f"must be a list, but is {describe(value)}", f"write [{item}]")
    raise refuse(f"must be a list, but is {describe(value)}", "start each item with `- `")


def _refuse_null(value: Any) -> Any:
    """None stands for a key that is not there; a key that is there with nothing behind it is a mistake."""
    if value is None:
        raise refuse("has no value", "give it one, or remove the key")
    return value


ListForm = BeforeValidator(_expect_list)
Given = BeforeValidator(_refuse_null)
Text = WithJsonSchema({"type": "string", "minLength": 1})
