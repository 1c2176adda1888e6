"""Secret values: those of environment variables. Plans, scripts and errors show only their names."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
"""The text in place of a value."""
SECRET_FIELDS = frozenset({"env"})
"""The fields of records and specs that hold secret values, as pairs of a name and a value."""
HIDDEN_MIN = 4
"""The shortest value to hide. A shorter one is a word or a number that any text may contain."""

Env = tuple[tuple[str, str], ...]


def mask_env(env: Env) -> Env:
    """The variables without their values."""
    return tuple((name, MASK) for name, _ in env)


def hide(text: str, env: Iterable[tuple[str, str]]) -> str:
    """A text of another program, with MASK for each value of `env` in it."""
    for value in sorted((value for _, value in env if len(value) >= HIDDEN_MIN), key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
