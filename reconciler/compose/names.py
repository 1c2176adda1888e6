"""Names of Compose and of engines as names of a topology, which are DNS labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from reconciler.state.grammar import LABEL, TOPOLOGY_NAME_MAX
from reconciler.state.naming import RESERVED_NAMES

_LABEL = re.compile(LABEL, re.ASCII)
LABEL_MAX = 63
_HASH_LENGTH = 4


def label_names(names: Iterable[str], kind: str) -> dict[str, str]:
    """By name, a label. A name that is a label keeps it; the others get what is free, in their order.

    `kind` completes a name that a topology reserves: `router` becomes `router-service`.
    """
    names = tuple(names)
    labels = {name: name for name in names if is_free_label(name)}
    taken = set(labels.values())
    for name in names:
        if name not in labels:
            labels[name] = _find_free(_shape(name, kind, LABEL_MAX), taken)
            taken.add(labels[name])
    return labels


def topology_name(project: str) -> str:
    """A topology's name for a project, which may be longer and have `_`. Two long projects get two names."""
    return _shape(project, "project", TOPOLOGY_NAME_MAX)


def is_free_label(name: str) -> bool:
    """Whether a topology accepts the name unchanged."""
    return _LABEL.fullmatch(name) is not None and name not in RESERVED_NAMES


def _shape(name: str, kind: str, longest: int) -> str:
    label = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or kind
    if label in RESERVED_NAMES:
        label = f"{label}-{kind}"
    if len(label) > longest:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
        label = f"{label[: longest - _HASH_LENGTH - 1].strip('-')}-{digest}"
    return label


def _find_free(label: str, taken: set[str]) -> str:
    if label not in taken:
        return label
    base = label[: LABEL_MAX - 6]
    return next(found for number in range(2, len(taken) + 3) if (found := f"{base}-{number}") not in taken)
