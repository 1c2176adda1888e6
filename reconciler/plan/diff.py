"""The differences between the live and the desired state of a host: pure, and the same for every kind.

When a thing is deleted or re-created, all that depends on it is deleted, too. The kernel would delete it anyway, or
refuse to delete the thing. A dependent that is still desired is re-created, and its change names the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeGuard

from reconciler.state.host import HostState
from reconciler.state.record import Change, InterfaceKey, Record
from reconciler.state.ref import Ref
from reconciler.state.secrets import SECRET_FIELDS, mask_env

Changes = tuple[Change, ...]


def diff_states(live: HostState, desired: HostState) -> tuple[Change, ...]:
    """The changes that turn `live` into `desired`, in the order of their Refs; empty if nothing differs."""
    before, after = live.records, desired.records
    changes: dict[Ref, Change] = {}
    for ref, wanted in after.items():
        held = before.get(ref)
        if held is None:
            changes[ref] = creation(ref, wanted)
        elif held != wanted:
            changes[ref] = _modification(ref, held, wanted)
    for ref, held in before.items():
        if ref not in after:
            changes[ref] = Change(ref, held, None, "not in the topology")
    gone = [ref for ref, change in changes.items() if is_gone(change)]
    if gone:
        _add_dependents(gone, before, after, changes)
        _mark_implied(changes)
    _restore_dropped(before, after, changes)
    return tuple(changes[ref] for ref in sorted(changes))


def creation(ref: Ref, wanted: Record) -> Change:
    """The change that creates a missing thing."""
    return Change(ref, None, wanted, "missing")


def differing_fields(before: Any, after: Any) -> tuple[str, ...]:
    """The names of the fields in which two dataclasses of one class differ, without fields that do not count."""
    return tuple(
        each.name
        for each in dataclasses.fields(after)
        if each.compare and getattr(before, each.name) != getattr(after, each.name)
    )


def is_gone(change: Change) -> bool:
    """Whether the change deletes the thing, for good or for a moment."""
    return change.before is not None and (change.after is None or change.recreate)


def find_silenced(changes: Changes) -> Iterator[InterfaceKey]:
    """The interfaces that lose IPv6 by a change in place."""
    for change in changes:
        if change.before and change.after and not change.recreate:
            yield from change.after.silenced(change.before)


def split_exposed(changes: tuple[Change, ...], containers: Container[str] | None = None) -> tuple[Changes, Changes]:
    """The changes that concern the host and all others; and those that the root of a container can undo.

    The latter include changes of things that depend on such a thing. With `containers`, only what these
    (`container:web`) can undo.
    """
    exposed = {change.ref for change in changes if change.exposed_to and (containers is None or change.exposed_to in containers)}
    waiting = True
    while waiting:
        sides = ((change.ref, change.after or change.before) for change in changes if change.ref not in exposed)
        found = {ref for ref, side in sides if side and not exposed.isdisjoint(side.depends_on)}
        exposed |= found
        waiting = bool(found)
    others = tuple(change for change in changes if change.ref not in exposed)
    return others, tuple(change for change in changes if change.ref in exposed)


def is_implied(before: Record, gone: Container[Ref]) -> bool:
    """Whether the kernel deletes the thing together with one in `gone` on which it depends."""
    return any(ref in gone and before.is_deleted_with(ref) for ref in before.depends_on)


def reason_of(before: Record, after: Record, *, show_secrets: bool = False) -> str:
    """The differences between two records of one thing, for users; the values of environment variables are masked."""
    return "; ".join(dict.fromkeys(_differences(before, after, show_secrets)))


def _modification(ref: Ref, before: Record, after: Record) -> Change:
    return Change(ref, before, after, reason_of(before, after), recreate=after.must_recreate(before))


def _differences(before: Any, after: Any, show_secrets: bool) -> Iterator[str]:
    """`mtu is 1400, wanted 1500` for each field that differs, also for those of a field that has fields or options itself."""
    for name in differing_fields(before, after):
        was, wanted = getattr(before, name), getattr(after, name)
        mask = mask_env if name in SECRET_FIELDS and not show_secrets else tuple
        if dataclasses.is_dataclass(was) and type(was) is type(wanted):
            yield from _differences(was, wanted, show_secrets)
        elif was and wanted and _are_options(was) and _are_options(wanted):
            held, given = dict(was), dict(wanted)
            shown, asked = dict(mask(was)), dict(mask(wanted))
            for key in sorted({*held, *given}):
                if held.get(key) != given.get(key):
                    yield f"{key} is {_text(shown.get(key, ''))}, wanted {_text(asked.get(key, ''))}"
        elif name in SECRET_FIELDS:
            yield f"{name} is {_text(mask(was))}, wanted {_text(mask(wanted))}"
        else:
            word, was = before.reason_field(name) if isinstance(before, Record) else (name, was)
            _, wanted = after.reason_field(name) if isinstance(after, Record) else (name, wanted)
            yield f"{word} is {_text(was)}, wanted {_text(wanted)}"


def _text(value: object) -> str:
    """A short form of a field's value for a reason."""
    if value is None or dataclasses.is_dataclass(value):
        return "not known" if value is None else "given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in ("", ()):
        return "empty"
    text = str(value)
    if _is_words(value):
        text = " ".join(value)
    elif _are_options(value):
        text = ", ".join(f"{key} {each}" for key, each in value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_words(value: object) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(isinstance(word, str) for word in value)


def _are_options(value: object) -> TypeGuard[tuple[tuple[str, str], ...]]:
    return isinstance(value, tuple) and all(_is_words(pair) and len(pair) == 2 for pair in value)


def _add_dependents(
    gone: list[Ref], before: Mapping[Ref, Record], after: Mapping[Ref, Record], changes: dict[Ref, Change]
) -> None:
    """Spread from the deleted things to all that depends on them, and add missing ones to `changes`."""
    dependents: dict[Ref, list[Ref]] = {}
    for ref, record in before.items():
        for parent in record.depends_on:
            dependents.setdefault(parent, []).append(ref)
    waiting, met = list(gone), set(gone)
    while waiting:
        parent = waiting.pop()
        fresh = [ref for ref in dependents.get(parent, ()) if ref not in met]
        met.update(fresh)
        waiting += fresh
    # Deletions are complete already: anything else found here is desired, so it is re-created.
    for ref in met.difference(gone):
        # Of several deleted parents, the first by name: the plan must not depend on the order of the records.
        parent = min(each for each in before[ref].depends_on if each in met)
        reason = changes[ref].reason if ref in changes else f"deleted with {parent}"
        changes[ref] = Change(ref, before[ref], after[ref], reason, recreate=True)


def _restore_dropped(before: Mapping[Ref, Record], after: Mapping[Ref, Record], changes: dict[Ref, Change]) -> None:
    """Add to `changes` desired things that the kernel deletes or resets during a change in place."""
    dropped: dict[Ref, tuple[str, ...]] = {}
    for ref, change in changes.items():
        if change.before and change.after and not change.recreate and (kinds := change.after.drops(change.before)):
            dropped[ref] = kinds
    if not dropped:
        return
    for ref, held in before.items():
        parents = [parent for parent in (*held.depends_on, *held.follows) if ref.kind in dropped.get(parent, ())]
        if parents and ref in after and ref not in changes:
            changes[ref] = Change(ref, held, after[ref], f"the kernel resets it when {parents[0]} changes")


def _mark_implied(changes: dict[Ref, Change]) -> None:
    gone = {ref for ref, change in changes.items() if is_gone(change)}
    for ref in gone:
        change = changes[ref]
        if change.before is not None and is_implied(change.before, gone):
            changes[ref] = dataclasses.replace(change, implied=True)
