"""Values that are not for every reader: those of environment variables. Plans, scripts and errors show their names only."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
"""In the place of a value."""
SECRET_FIELDS = frozenset({"env"})
"""The fields of records and specs that hold such values, as pairs of a name and a value."""
HIDDEN_MIN = 4
"""A shorter value is a word or a number that stands in any text."""

Env = tuple[tuple[str, str], ...]


def mask_env(env: Env) -> Env:
    """The variables without their values."""
    return tuple((name, MASK) for name, _ in env)


def hide(text: str, env: Iterable[tuple[str, str]]) -> str:
    """A text of another program's, with MASK for each value of `env` that stands in it."""
    for value in sorted((value for _, value in env if len(value) >= HIDDEN_MIN), key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
