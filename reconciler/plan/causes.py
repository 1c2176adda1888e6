"""The differences of a host, causes first: which of them follow from which. Pure, and the same for every kind.

A route is gone because its link is down; forwarding entries are gone because their tunnel is. A reader needs the link, and the
number of entries. Records say what they depend on, follow and reset. Nothing here knows a kind.

A record that only goes and comes with another one in the plan is no difference: its live record is as desired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.state.record import Change
from reconciler.state.ref import Ref


@dataclass(frozen=True, slots=True)
class RootCause:
    """A difference that no other one explains, and those that follow from it, directly or not."""

    change: Change
    effects: tuple[Change, ...] = ()


def find_causes(changes: Iterable[Change]) -> tuple[RootCause, ...]:
    """The causes among the changes of one host's plan, each with its effects, in the order of the plan."""
    differing = {change.ref: change for change in changes if is_difference(change)}
    effects: dict[Ref, list[Change]] = {}
    for change in differing.values():
        root = _root_of(change, differing)
        found = effects.setdefault(root.ref, [])
        if root is not change:
            found.append(change)
    return tuple(RootCause(differing[ref], tuple(found)) for ref, found in sorted(effects.items()))


def is_difference(change: Change) -> bool:
    """Whether the live record is missing, superfluous or other than desired: not only re-created with what it depends on."""
    return change.before is None or change.before != change.after


def describe_drift(change: Change) -> str:
    """A difference in words that name what has happened: `eth0 is down`, `bridge b-shop-front is gone`."""
    if change.after:
        return change.after.describe_drift(change.before, change.reason.replace("→", "->"))
    return f"{change.record.describe()} is not in the file"


def _root_of(change: Change, differing: Mapping[Ref, Change]) -> Change:
    """The change at the end of the causes of this one; the change itself if nothing explains it."""
    met = {change.ref}
    while (parent := _parent_of(change, differing)) and parent.ref not in met:
        met.add(parent.ref)
        change = parent
    return change


def _parent_of(change: Change, differing: Mapping[Ref, Change]) -> Change | None:
    """The difference that explains this one: of several, the first that it depends on, then the first that it follows."""
    record = change.record
    for ref in record.depends_on:
        if (parent := differing.get(ref)) and (_is_lost(parent) or _resets(parent, change)):
            return parent
    is_lost = change.before is None or change.recreate
    for ref in record.follows:
        if (parent := differing.get(ref)) and is_lost and parent.before is None:
            return parent
    return None


def _is_lost(change: Change) -> bool:
    """Whether the record is missing, or superfluous: then so is what depends on it."""
    return change.before is None or change.after is None


def _resets(parent: Change, child: Change) -> bool:
    """Whether the live record of `parent` became so by a change that deleted or reset the child."""
    live, wanted = parent.before, parent.after
    # The live record resets what belonged to the desired one.
    return live is not None and wanted is not None and type(live) is type(wanted) and live.resets(wanted, child.record)
