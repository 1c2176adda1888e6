"""The readings of a worker: what the host has, by kind, and how it differs from the desired state.

A worker that stays with its controller reads again and again. A reading without a change is
the same object as the last one (`state.snapshot.reuse`). Then its records are not recognised again, and a plan without
changes is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from reconciler.kernel.snapshot import Interest
from reconciler.kinds import recognise_all, with_strays
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.plan.diff import diff_states, find_silenced, is_gone
from reconciler.state.host import HostState
from reconciler.state.record import Change
from reconciler.state.snapshot import Snapshot
from reconciler.worker.abstract import Machine

Keys = Mapping[str, tuple[str, ...]]
"""Kernel settings by their namespaces."""


class Readings:
    """The last reading and its comparison."""

    def __init__(self, machine: Machine) -> None:
        """It has read nothing yet."""
        self._machine = machine
        self._pool: ThreadPoolExecutor | None = None
        self._recognised: tuple[Snapshot, Future[HostState]] | None = None
        self._settings: tuple[Snapshot, Mapping[str, Mapping[str, str]], tuple[Sysctl, ...]] | None = None
        """The last settings: what was read besides, their values, and their records."""
        self._in_step: tuple[Snapshot, HostState, tuple[Sysctl, ...], HostState] | None = None
        """The last comparison without a difference: what was read, what is desired, the settings, and the live state."""

    def recognise(self, snapshot: Snapshot) -> Future[HostState]:
        """The live state; a thread of its own computes it."""
        if self._recognised is None or self._recognised[0] is not snapshot:
            self._pool = self._pool or ThreadPoolExecutor(1)
            self._recognised = snapshot, self._pool.submit(recognise_all, snapshot)
        return self._recognised[1]

    def compare(self, snapshot: Snapshot, desired: HostState, keys: Keys) -> tuple[HostState, tuple[Change, ...]]:
        """The live state with the settings in `keys`, foreign things in the way and settings that are lost; and the changes.

        The live state also has the settings that the changes write besides, so that a rollback restores them.
        """
        settings = self._read_settings(snapshot, keys)
        known = self._in_step
        if known and known[0] is snapshot and known[1] is desired and known[2] == settings:
            return known[3], ()
        live = _with(self.recognise(snapshot).result(), settings)
        live, changes = self._with_lost_settings(with_strays(live, snapshot, desired), snapshot, desired)
        self._in_step = None if changes else (snapshot, desired, settings, live)
        return _with(live, self._read_settings(snapshot, _overwritten(changes))), changes

    def rest(self) -> None:
        """End the thread, which is in the namespace of the host."""
        if self._pool:
            self._pool.shutdown()
            self._pool = None

    def _read_settings(self, snapshot: Snapshot, keys: Keys) -> tuple[Sysctl, ...]:
        if not keys:
            return ()
        read = self._machine.read_settings(snapshot, Interest(sysctls=keys))
        values = {netns: read.namespace(netns).sysctls for netns in keys}
        if self._settings is None or self._settings[0] is not snapshot or self._settings[1] != values:
            self._settings = snapshot, values, tuple(Sysctl.recognise(read))
        return self._settings[2]

    def _with_lost_settings(
        self, live: HostState, snapshot: Snapshot, desired: HostState
    ) -> tuple[HostState, tuple[Change, ...]]:
        """The live state with the kernel settings that the changes would lose, and those changes.

        A plan that knows them can be rolled back: a re-created link has the kernel's own values.
        """
        changes = diff_states(live, desired)
        gone = [change.before for change in changes if change.before and is_gone(change)]
        silenced = tuple(find_silenced(changes))
        settings = Sysctl.recognise(self._machine.read_lost_settings(snapshot, gone, silenced)) if gone or silenced else ()
        lost = {each.ref: each for each in settings if each.ref not in live.records and each.ref not in desired.records}
        if not lost:
            return live, changes
        live = HostState({**live.records, **lost})
        return live, diff_states(live, desired)


def _with(live: HostState, settings: tuple[Sysctl, ...]) -> HostState:
    return HostState({**live.records, **{record.ref: record for record in settings}}) if settings else live


def _overwritten(changes: Iterable[Change]) -> Keys:
    """The kernel settings that changes in place write besides."""
    sides = ((change.before, change.after) for change in changes if not change.recreate)
    found = ((after.netns, after.overwrites(before)) for before, after in sides if before and after)
    return {netns: keys for netns, keys in found if keys}
