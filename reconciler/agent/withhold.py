"""What an agent does not repair, though it differs: pure.

A container that a user stopped stays stopped (`repair: network`). One that ended because its network namespace was gone, as
after a reboot, starts again if its restart policy says so. The agent waits for a container that another program is to run,
and leaves a contested thing as it is for a while. Nothing that depends on such a thing can be created without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from reconciler.kinds.engine.container import EngineContainer
from reconciler.kinds.engine.holder import NetnsHolder
from reconciler.kinds.engine.hosts import HostsFile
from reconciler.kinds.netns import Netns
from reconciler.kinds.process import Process
from reconciler.state.container_spec import LOST
from reconciler.state.engines import HOLDING
from reconciler.state.host import HostState
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref

Repair = Literal["network", "all"]


def find_awaited(changes: Iterable[Change], repair: Repair, held: HostState, absent: Collection[str]) -> Iterator[Ref]:
    """The containers of an engine that the agent does not start or create.

    `held` is the state that the agent has reached before: a user or another program removed what is in it and missing now.
    `absent` are the containers that another program is to run, and that do not run.
    """
    changes = tuple(changes)
    renewed = {change.ref for change in changes if _is_renewed(change)}
    for change in changes:
        wanted, live = change.after, change.before
        if not isinstance(wanted, EngineContainer):
            continue
        if wanted.existing:
            if wanted.container in absent:
                yield change.ref
        elif repair == "network":
            starts = wanted.restarts_with_machine and not renewed.isdisjoint((*wanted.depends_on, *wanted.follows))
            if _is_left_to_user(wanted, live if isinstance(live, EngineContainer) else None, held, starts=starts):
                yield change.ref


def _is_renewed(change: Change) -> bool:
    """Whether a network namespace was gone, and is created: without it, no engine can start what is to join it."""
    if not isinstance(change.after, NetnsHolder | Netns):
        return False
    return change.before is None or change.recreate or (isinstance(change.before, NetnsHolder) and not change.before.running)


def _is_left_to_user(wanted: EngineContainer, live: EngineContainer | None, held: HostState, *, starts: bool) -> bool:
    """Whether the difference is a user's doing: the container was stopped, or what the file asked for already is gone.

    `starts` says that one that does not run could not run, and is to.
    """
    if live is not None and (live.network == LOST or not wanted.must_recreate(live)):
        return wanted.is_ended(live) and not starts
    return held.records.get(wanted.ref) == wanted


def withhold(desired: HostState, changes: Collection[Change], refs: Collection[Ref]) -> HostState:
    """The desired state without these changes, and without what cannot be created for want of them."""
    lacking = {change.ref for change in changes if change.ref in refs and is_lacking(change)}
    waiting = True
    while waiting:
        found = {
            change.ref
            for change in changes
            if change.ref not in lacking and change.before is None and not lacking.isdisjoint(change.record.depends_on)
        }
        lacking |= found
        waiting = bool(found)
    records = dict(desired.records)
    for change in changes:
        if change.ref not in lacking and change.ref not in refs:
            continue
        if change.before is None:
            records.pop(change.ref, None)
        else:
            records[change.ref] = change.before
    return HostState(records)


def is_lacking(change: Change) -> bool:
    """Whether nothing can be created on the thing as it is now: it is missing, or a container that does not run."""
    return change.before is None or (isinstance(change.before, EngineContainer) and not change.before.running)


def find_programs(changes: Iterable[Change]) -> frozenset[Ref]:
    """The containers and commands that would be started."""
    return frozenset(change.ref for change in changes if isinstance(change.after, EngineContainer | Process))


def find_engine_work(changes: Iterable[Change]) -> frozenset[Ref]:
    """What needs an engine that joins holders, which cannot be asked now: its own containers, holders and their hosts files."""
    return frozenset(change.ref for change in changes if _needs_engine(change.after or change.before))


def _needs_engine(record: Record | None) -> bool:
    match record:
        case EngineContainer():
            return not record.existing and record.runtime == HOLDING
        case HostsFile():
            return bool(record.holder)
    return isinstance(record, NetnsHolder)


def find_roots(changes: Collection[Change]) -> tuple[Change, ...]:
    """The changes that do not follow from another one: those of a link, and not those of its addresses."""
    refs = {change.ref for change in changes}
    return tuple(change for change in changes if refs.isdisjoint(change.record.depends_on))
