"""One apply over all hosts: executed in step, and kept by all of them or rolled back by all of them.

Hosts work in parallel, in phases with a barrier. Every host removes before any creates, so that a thing can move from
one to another. The lab contains its hosts, so it removes after them and creates before them. If one host fails, or the
user cancels, all of them roll back.

A host on another machine may be lost at any moment. It must reach the same state as the others without a message. So
the end has steps, each on all hosts before the next on any:

    arm       from here on a host that loses its controller rolls back
    …         remove, make, and read again each host that changed, or that another host's changes could affect
    confirm   a new connection shows that the host can still be reached
    keep      from here on a host that loses its controller keeps the change
    commit    delete what was kept for a rollback

A host that is lost before its `keep` rolls back, and the controller rolls back the others, which all still can. One
that is lost after that keeps the change, as the others do. One gap remains: `keep` has arrived, and its answer has not.

The lab and its hosts share one machine, and records of one worker may depend on another's. The kernel deletes the
routes of a lab host over its uplink when the lab changes the uplink's address. So all of them are read again. Missing
records on a host that did not change them are created in a further round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import NoReturn, Protocol

from reconciler.errors import LeftoverError, NetctlError, RolledBackError
from reconciler.fleet.session import Session, WorkerDiedError
from reconciler.fleet.side_by_side import SideBySide, merge_errors
from reconciler.plan.diff import split_exposed
from reconciler.plan.document import HostPlan
from reconciler.plan.rollback import state_before
from reconciler.state.host import HostState
from reconciler.state.progress import ProgressDisplay
from reconciler.state.record import Change
from reconciler.state.ref import LAB, Ref
from reconciler.state.visible import visible_line
from reconciler.worker import protocol
from reconciler.worker.protocol import Event, Phase

ROUNDS_MAX = 3
"""The most rounds that re-create what other hosts' changes deleted."""
SHOWN_MAX = 5
"""The number of remaining changes that an error names."""
TAKES_OVER = "run `netctl status` to see what differs; `netctl apply` continues from there, and `netctl destroy` removes it"


class StepFailedError(NetctlError):
    """A step of one host failed; `ref` is what it was for, if that is known."""

    host: str = ""
    ref: Ref | None = None


class Connector(Protocol):
    """The opener of connections for a rollout: the fleet."""

    def confirm(self, session: Session) -> None:
        """Show by a new connection that the host can still be reached. HostError if it cannot."""

    def revive(self, session: Session) -> None:
        """Replace a dead worker by another, with its lock, and read the host. NetctlError if that fails."""


class Rollout:
    """One apply: its plans, and its progress."""

    def __init__(
        self,
        hosts: SideBySide,
        plans: Mapping[str, HostPlan],
        desired: Mapping[str, HostState],
        progress: ProgressDisplay,
        connector: Connector,
        run: str,
        patience_s: float,
    ) -> None:
        """`run` identifies this controller; `patience_s` is the time after which hosts on other machines give it up."""
        self._hosts = hosts
        self._all = plans
        self._desired = desired
        self._plans = {host: plan for host, plan in plans.items() if plan.changes}
        self._watched = [host for host in plans if host in self._plans or not hosts.sessions[host].target.ssh]
        """Hosts that change, and those on this machine, which others' changes can affect."""
        self._remote = [host for host in self._plans if hosts.sessions[host].target.ssh]
        self._progress = progress
        self._connector = connector
        self._run = run
        self._patience_s = patience_s
        self._keeping = False
        self._rolling_back = False
        self.drift: dict[str, tuple[Change, ...]] = {}
        """By host, changes that the root of a container has undone or prevented in its own namespace."""

    def carry_out(self) -> None:
        """Return when all hosts have their planned state, read again, packets pass, and all of them keep it.

        RolledBackError if a step failed or the user cancelled, and every host is in the state before; LeftoverError if
        a host is not.
        """
        try:
            self._hosts.run(lambda session: session.call(protocol.Arm(token=self._run)), self._remote)
            self._walk(self._plans)
            found = self._repair_others()
            self._check_created(found)
            self._judge("after the apply", found)
            self._hosts.run(self._connector.confirm, self._remote)
            self._raise_if_stopped()
            self._keeping = True
            self._hosts.run(lambda session: session.call(protocol.Keep()), self._remote)
        except NetctlError as error:
            self._roll_back(NetctlError("stopped by the user") if self._hosts.wants_stop and not self._keeping else error)

    def go_forward(self) -> None:
        """Execute the plans without a rollback: NetctlError leaves the hosts as they are then, for the next reading."""
        self._walk(self._plans)

    # --- phases -----------------------------------------------------------------------------------------------------

    def _walk(self, plans: Mapping[str, HostPlan]) -> None:
        """Both phases on all hosts that change: the lab last in the removal, and first in the creation."""
        hosts = [host for host, plan in plans.items() if plan.changes and host != LAB]
        lab = [LAB] if LAB in plans and plans[LAB].changes else []
        order: tuple[tuple[Phase, list[str]], ...] = (("remove", hosts), ("remove", lab), ("make", lab), ("make", hosts))
        for phase, group in order:
            self._raise_if_stopped()
            self._hosts.run(lambda session, phase=phase: self._walk_phase(session, phase), group)  # type: ignore[misc]

    def _raise_if_stopped(self) -> None:
        """Raise if the user cancelled: a worker checks for that only while it executes batches."""
        if self._hosts.wants_stop and not self._rolling_back:
            raise NetctlError("stopped by the user")

    def _walk_phase(self, session: Session, phase: Phase) -> None:
        shown = "roll back" if self._rolling_back else phase

        def tell(event: Event) -> None:
            with contextlib.suppress(OSError):  # a closed terminal is no reason to leave a host half changed
                match event:
                    case protocol.Waiting(bridge=bridge, seconds=seconds):
                        self._progress.wait(session.target.host, bridge, seconds)
                    case protocol.Progress(done=done, total=total):
                        self._progress.update(session.target.host, shown, done, total)

        outcome = session.call(protocol.Apply(phase=phase), tell)
        if outcome.failure:
            what = f"{outcome.failure.ref}: " if outcome.failure.ref else ""
            failure = StepFailedError(f"{what}{outcome.failure.message}")
            failure.host, failure.ref = session.target.host, outcome.failure.ref
            raise failure

    def _read_again(self, hosts: Iterable[str]) -> dict[str, tuple[Change, ...]]:
        """By host, the differences from its desired state."""
        return self._hosts.run(lambda session: session.call(protocol.Check()), hosts)

    def _repair_others(self) -> dict[str, tuple[Change, ...]]:
        """Re-create records that a host did not change, and lost by another host's change.

        By host, the differences after that.
        """
        touched = {host: {change.ref for change in plan.changes} for host, plan in self._plans.items()}
        for left in reversed(range(ROUNDS_MAX)):
            found = self._read_again(self._watched)
            lost = [
                host
                for host, answer in found.items()
                if (changes := split_exposed(answer)[0]) and touched.get(host, set()).isdisjoint(change.ref for change in changes)
            ]
            if not (lost and left):
                break
            self._walk(self._hosts.run(lambda session: session.call(protocol.Repair(host=session.target.host)), lost))
        return found

    def _check_created(self, answers: Mapping[str, tuple[Change, ...]]) -> None:
        """Raise NetctlError for an engine's container that the plan created and that has ended. Its engine may notice that late.

        If an older one ends, that is drift, like all else that its root can do (see `_judge`).
        """
        for host, plan in self._plans.items():
            created = {change.ref for change in plan.changes if change.before is None or change.recreate}
            for change in answers.get(host, ()):
                if change.ref in created and change.after and change.after.is_ended(change.before):
                    raise NetctlError(f"{host}: {change.after.describe()} ended at once", change.after.logs_help)

    def _judge(self, when: str, answers: Mapping[str, tuple[Change, ...]]) -> None:
        """Raise NetctlError if anything differs from the desired state.

        Differences that the root of a container can cause in its own namespace are no failure, but drift. Else any
        container could prevent changes on all hosts.
        """
        self.drift.clear()
        for host, answer in answers.items():
            changes, exposed = split_exposed(answer)
            if exposed:
                self.drift[host] = exposed
            if changes:
                shown = visible_line("; ".join(f"{change.ref}: {change.reason}" for change in changes[:SHOWN_MAX]))
                more = f", and {len(changes) - SHOWN_MAX} more" if len(changes) > SHOWN_MAX else ""
                raise NetctlError(f"{host} differs from its desired state {when}: {shown}{more}")

    # --- rollback ---------------------------------------------------------------------------------------------------

    def _roll_back(self, cause: NetctlError) -> NoReturn:
        """Roll back the changes on every host: RolledBackError, or LeftoverError."""
        self._rolling_back = True
        back, lost = self._hosts.attempt(self._plan_back, self._watched)
        try:
            self._walk(back)
            self._judge("after the rollback", self._read_again(back))
            self._hosts.run(lambda session: session.call(protocol.Commit()), back)
        except NetctlError as error:
            raise LeftoverError(
                _add(cause.message, f"and the rollback is incomplete: {error.message}"),
                _join(cause.help_text, error.help_text, TAKES_OVER),
            ) from cause
        if lost:
            raise self._left_alone(cause, lost) from cause
        besides = ", ".join(containers_of(self.drift))
        words = f"every host is as it was before, but for {besides}" if besides else "every host is as it was before"
        raise RolledBackError(_add(cause.message, words), cause.help_text) from cause

    def _plan_back(self, session: Session) -> HostPlan:
        """The rollback plan of the worker that made the plan; if that has died, of another one, which gets the state before."""
        host = session.target.host
        try:
            return session.call(protocol.Rollback(host=host))
        except WorkerDiedError:
            self._connector.revive(session)
            before = state_before(self._desired.get(host, HostState({})), self._all[host].changes)
            return session.call(protocol.RollbackTo(host=host, before=before))

    def _left_alone(self, cause: NetctlError, lost: Mapping[str, NetctlError]) -> LeftoverError:
        """Some hosts rolled back, and others did not get the request."""
        words = f"every host that can be reached is as it was before, and not {merge_errors(lost).message}"
        names, one = ", ".join(lost), len(lost) == 1
        if not all(self._hosts.sessions[host].target.ssh for host in lost):
            help_text = _join(cause.help_text, merge_errors(lost).help_text, TAKES_OVER)
        elif self._keeping:
            help_text = (
                f"it is unknown whether {names} {'was' if one else 'were'} asked in time to keep the change:"
                f" read /run/netctl/local/*.log there after {self._patience_s:.0f} s; the next apply makes all hosts alike"
            )
        else:
            help_text = (
                f"{names} {'rolls' if one else 'roll'} back within {self._patience_s:.0f} s"
                f" of the loss, and {'logs' if one else 'log'} it there to /run/netctl/local/*.log"
            )
        return LeftoverError(_add(cause.message, words), help_text)


def containers_of(drift: Mapping[str, tuple[Change, ...]]) -> tuple[str, ...]:
    """The containers whose roots can have caused these differences: `container web`."""
    found = {change.exposed_to.replace(":", " ") for changes in drift.values() for change in changes if change.exposed_to}
    return tuple(sorted(found))


def _add(message: str, more: str) -> str:
    """A sentence that continues, on a line of its own if there are several already."""
    return f"{message}\n{more}" if "\n" in message else f"{message}; {more}"


def _join(*help_texts: str) -> str:
    """The advice, one line each, without duplicates."""
    return "\n".join(dict.fromkeys(filter(None, help_texts)))
