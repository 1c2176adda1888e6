"""Names of Compose and of engines as names of a topology, which are DNS labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from pydantic_core import PydanticCustomError

from reconciler.state.grammar import TOPOLOGY_NAME_MAX
from reconciler.topology.scalars import parse_label

LABEL_MAX = 63
SERVICE_MAX = LABEL_MAX - len("-9999")
"""The number of a container follows the name of its service."""
_NUMBERED = re.compile("(.+)-[1-9][0-9]{0,3}", re.ASCII)
_HASH_LENGTH = 4


def label_names(names: Sequence[str], kind: str) -> dict[str, str]:
    """By name, a label. A name that is a label keeps it; the others get what is free, in their order.

    `kind` completes a name that a topology reserves: `router` becomes `router-network`.
    """
    return _choose(names, kind, LABEL_MAX, {name for name in names if is_free_label(name)})


def service_labels(names: Sequence[str]) -> dict[str, str]:
    """The same for services. None is the name of another's container: beside `web`, `web-1` becomes `web-1-service`."""
    labels = {name for name in names if is_free_label(name) and len(name) <= SERVICE_MAX}
    kept = {name for name in labels if _stem(name) not in labels}
    return _choose(names, "service", SERVICE_MAX, kept)


def topology_name(project: str) -> str:
    """A topology's name for a project, which may be longer and have `_`. Two long projects get two names."""
    return _shape(project, "project", TOPOLOGY_NAME_MAX)


def is_free_label(name: str) -> bool:
    """Whether a topology accepts the name unchanged."""
    try:
        return bool(parse_label(name))
    except PydanticCustomError:
        return False


def _choose(names: Iterable[str], kind: str, longest: int, kept: set[str]) -> dict[str, str]:
    """A label for each name: those in `kept` stay."""
    labels, taken = {name: name for name in kept}, set(kept)
    for name in names:
        if name not in labels:
            shaped = _shape(name, kind, longest)
            wanted = (shaped, f"{shaped[: longest - len(kind) - 1].strip('-')}-{kind}")
            labels[name] = next((label for label in wanted if _is_free(label, taken)), "") or _number(wanted[1], longest, taken)
            taken.add(labels[name])
    return labels


def _is_free(label: str, taken: set[str]) -> bool:
    """Whether the label is no other's, and neither of the two is that of a container of the other."""
    stem = _stem(label)
    return is_free_label(label) and not taken & {label, stem} and label not in map(_stem, taken)


def _stem(label: str) -> str:
    """The service of whose container this is the name; "" if it is none's."""
    numbered = _NUMBERED.fullmatch(label)
    return numbered[1] if numbered else ""


def _number(label: str, longest: int, taken: set[str]) -> str:
    """The label with the first free number, behind an `n`: digits alone would look like the number of a container."""
    base = label[: longest - 6].strip("-")
    return next(found for number in range(2, len(taken) + 3) if (found := f"{base}-n{number}") not in taken)


def _shape(name: str, kind: str, longest: int) -> str:
    label = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or kind
    if len(label) > longest:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
        label = f"{label[: longest - _HASH_LENGTH - 1].strip('-')}-{digest}"
    return label
