"""The plan document: what `diff --json` prints and `diff --plan FILE` saves, the same but for the values of variables.

Its JSON Schema (`schemas/plan.schema.json`) is generated from the dataclasses here by `render.schema`.

A saved plan is an approval, not a program: `apply --plan FILE` plans anew and goes on only where the result is the one that
was saved, so nothing in the file is ever executed. Each host's fingerprint covers all that was live, so a plan is also
refused where something else has moved. The exit status is then 2, not 3: the file that was given is no longer right, and
nothing about the host needs mending.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.kinds.grammar import check_record
from reconciler.plan.diff import creation, diff_states, reason_of
from reconciler.plan.order import Batch
from reconciler.plan.plan import PhasedPlan, plan_changes
from reconciler.state.codec import Codec
from reconciler.state.host import HostState
from reconciler.state.jsontext import MalformedError, parse_json
from reconciler.state.listed import listed
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref
from reconciler.state.secrets import MASK

FORMAT_VERSION = 1
"""Goes up when a document of before can no longer be read."""

CODEC = Codec(KINDS)
"""For all kinds that there are."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The plan of one host, and the fingerprint of the live state that it starts from.

    `steps` counts those of both phases. A plan on its way to be applied and not to be shown in full has neither a fingerprint
    nor batches: they stay with the worker.
    """

    host: str
    fingerprint: str = ""
    steps: int = 0
    changes: tuple[Change, ...] = listed()
    remove: tuple[Batch, ...] = listed()
    make: tuple[Batch, ...] = listed()


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """The plan of a whole topology. Hosts stand in the order of their names, `lab` among them where there is one."""

    format_version: int
    topology: str
    hosts: tuple[HostPlan, ...]


def fingerprint_of(live: HostState) -> str:
    """The SHA-256 of the live state in canonical JSON, in hexadecimal."""
    records = [CODEC.encode(live.records[ref]) for ref in sorted(live.records)]
    return hashlib.sha256(json.dumps(records, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def host_plan(host: str, live: HostState, plan: PhasedPlan) -> HostPlan:
    """The plan of one host, in full."""
    return HostPlan(host, fingerprint_of(live), plan.step_count, plan.changes, plan.remove, plan.make)


@dataclass(frozen=True, slots=True)
class LivePlan:
    """A plan on its way to whoever asked for it: no changes and no steps, but what is live, from which the asker gets them.

    The asker has what is desired, and does not take a host's word for what is to be done (`complete_plan`).
    """

    host: str
    fingerprint: str
    """As a HostPlan's: empty where the plan is not wanted in full."""
    steps: int
    changes: tuple[Record, ...]
    """Of what changes, what is there."""
    missing: tuple[tuple[str, str, str], ...]
    """Of what changes and is not there, the Refs."""


def live_plan(plan: HostPlan) -> LivePlan:
    """A plan as a worker answers it."""
    live = tuple(change.before for change in plan.changes if change.before is not None)
    missing = tuple(change.ref for change in plan.changes if change.before is None)
    return LivePlan(plan.host, plan.fingerprint, plan.steps, live, missing)


def complete_plan(told: LivePlan, desired: HostState) -> HostPlan:
    """The inverse of `live_plan`, for `desired` that was asked about. MalformedError where the answer cannot be.

    What changes is compared again here, and the steps of a plan in full are made here: so what is shown, and printed as a
    script, comes from `desired` and from records that were checked, never from a host's own words.
    """
    if not re.fullmatch("|[0-9a-f]{64}", told.fingerprint):
        raise MalformedError("a fingerprint that is none")
    for record in told.changes:
        check_record(record)
    live = _state_of(told.changes)
    changes = list(diff_states(live, HostState({ref: wanted for ref in live.records if (wanted := desired.records.get(ref))})))
    changes += _creations(told.missing, live, desired)
    changes.sort(key=attrgetter("ref"))
    if not told.fingerprint:
        return HostPlan(told.host, "", told.steps, tuple(changes))
    plan = _lower(tuple(changes))
    return HostPlan(told.host, told.fingerprint, plan.step_count, plan.changes, plan.remove, plan.make)


def _creations(named: Iterable[tuple[str, str, str]], live: HostState, desired: HostState) -> list[Change]:
    """What is to be created, each named once; the records are the asker's own."""
    try:
        missing = [Ref(*parts) for parts in named]
        wanted = [desired.records[ref] for ref in missing]
        twice = len(set(missing)) < len(missing) or not live.records.keys().isdisjoint(missing)
    except KeyError:
        raise MalformedError("a plan for what was not asked about") from None
    if twice:
        raise MalformedError("a plan that names a thing twice")
    return [creation(ref, record) for ref, record in zip(missing, wanted, strict=True)]


def _lower(changes: tuple[Change, ...]) -> PhasedPlan:
    try:
        return plan_changes(changes)
    except ValueError as error:  # what is desired has steps, so it is something live that has none
        raise MalformedError(f"a record of which no step can be made: {error}") from None


def _state_of(records: tuple[Record, ...]) -> HostState:
    try:
        return HostState.of(records)
    except ValueError as error:
        raise MalformedError(str(error)) from None


def compile_document(topology: str, plans: tuple[HostPlan, ...]) -> PlanDocument:
    """The document of a topology, from its hosts' plans in any order."""
    return PlanDocument(FORMAT_VERSION, topology, tuple(sorted(plans, key=lambda plan: plan.host)))


def shown_document(document: PlanDocument, *, show_secrets: bool = False) -> PlanDocument:
    """The document for printing: without the values of environment variables, or with them in the reasons, too.

    A saved plan has them where a step needs them.
    """
    show = _reveal_host if show_secrets else _mask_host
    return replace(document, hosts=tuple(show(host) for host in document.hosts))


def _reveal_host(host: HostPlan) -> HostPlan:
    return replace(host, changes=tuple(_reveal(change) for change in host.changes))


def _reveal(change: Change) -> Change:
    if not (MASK in change.reason and change.before and change.after):
        return change
    return replace(change, reason=reason_of(change.before, change.after, show_secrets=True))


def _mask_host(host: HostPlan) -> HostPlan:
    changes = tuple(change.masked() for change in host.changes)
    return replace(host, changes=changes, remove=_mask_batches(host.remove), make=_mask_batches(host.make))


def _mask_batches(batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
    return tuple(replace(batch, steps=tuple(step.masked() for step in batch.steps)) for batch in batches)


def render_document(document: PlanDocument) -> str:
    """Its text: JSON, indented, with a line end."""
    return json.dumps(CODEC.encode(document), indent=2) + "\n"


def check_saved(path: str, text: str, current: PlanDocument) -> None:
    """Nothing, where the saved text is the plan that is current; UsageError with what has moved where it is not."""
    saved = _parse_saved(path, text)
    if saved["topology"] != current.topology:
        raise UsageError(f"{path} is a plan for the topology {saved['topology']!r}, not for {current.topology!r}")
    before = {host["host"]: host for host in saved["hosts"]}
    help_text = f"make a new plan with `netctl diff FILE --plan {path}`, look at it, and apply that"
    for host in current.hosts:
        then = before.pop(host.host, None)
        if then is None:
            raise UsageError(f"{path} is stale: it has no plan for host {host.host}", help_text)
        if then.get("fingerprint") != host.fingerprint:
            raise UsageError(f"{path} is stale: host {host.host} has changed since the plan was made", help_text)
        if then != CODEC.encode(host):
            raise UsageError(f"{path} is stale: the topology asks for something else on host {host.host} by now", help_text)
    for name in before:
        raise UsageError(f"{path} is stale: host {name} is no longer in the topology", help_text)


def _parse_saved(path: str, text: str) -> dict[str, Any]:
    help_text = "such a file is made by `netctl diff --plan FILE`"
    try:
        saved = parse_json(text)
    except MalformedError as error:
        raise UsageError(f"{path} is not a saved plan: it has {error}", help_text) from None
    if not isinstance(saved, dict) or not isinstance(saved.get("hosts"), list) or not isinstance(saved.get("topology"), str):
        raise UsageError(f"{path} is not a saved plan", help_text)
    version = saved.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise UsageError(f"{path} has format version {version!r:.20}, and this netctl reads {FORMAT_VERSION}", help_text)
    if not all(isinstance(host, dict) and isinstance(host.get("host"), str) for host in saved["hosts"]):
        raise UsageError(f"{path} is not a saved plan: it has a host without a name", help_text)
    return saved
