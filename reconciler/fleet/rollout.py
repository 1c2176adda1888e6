"""One apply over all hosts: carried out in step, kept by all of them or taken back by all of them.

Hosts work side by side, in phases with a barrier: every host removes before any makes, so that a thing can move from one to
another. The lab carries its hosts, so it removes after them and makes before them. Where one host fails, or the user stops,
all of them go back.

A host on another machine may be lost at any moment, and must come to rest as the others do, without being told. So it ends in
steps, each on all hosts before the next on any:

    arm       from here on a host that has lost its controller takes itself back
    …         remove, make, and whoever has changed, or could be changed by another, is read again
    confirm   a new connection shows that the host can still be reached
    keep      from here on a host that has lost its controller keeps what was made
    commit    what was kept for a rollback is let go of

A host that is lost before it was told to keep goes back, and the others, which can all still do so, are taken back. One that is
lost after that keeps the change, as the others do. What remains is the moment in which `keep` has arrived and its answer has not.

The lab and its hosts share one machine, and things of one worker may stand on what another changes: the kernel removes the
routes of a lab host over its uplink when the lab changes the uplink's address. So all of them are read again, and what is missing
on a host that did not touch it is made in a further round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import NoReturn, Protocol

from reconciler.errors import LeftoverError, NetctlError, RolledBackError
from reconciler.fleet.session import Session, WorkerDiedError
from reconciler.fleet.side_by_side import SideBySide, merge_errors
from reconciler.kinds.engine.container import EngineContainer
from reconciler.plan.diff import split_exposed
from reconciler.plan.document import HostPlan
from reconciler.plan.rollback import state_before
from reconciler.state.host import HostState
from reconciler.state.progress import ProgressDisplay
from reconciler.state.record import Change
from reconciler.state.ref import LAB
from reconciler.state.visible import visible_line
from reconciler.worker import protocol
from reconciler.worker.protocol import Event, Phase

ROUNDS_MAX = 3
"""How often what others' changes took along is made again."""
SHOWN_MAX = 5
"""How many of the changes that are left over an error names."""
TAKES_OVER = "`netctl status` says what differs; the next apply takes over what is left, and destroy removes it"


class Connector(Protocol):
    """What opens connections for a rollout: the fleet."""

    def confirm(self, session: Session) -> None:
        """Show by a new connection that the host can still be reached. HostError."""

    def revive(self, session: Session) -> None:
        """Let another worker take the place of one that has died, with its lock, and read the host. NetctlError."""


class Rollout:
    """One apply: what is to be done, and how far it is."""

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
        """`run` stands for this controller; `patience_s` is how long hosts on other machines do without hearing of it."""
        self._hosts = hosts
        self._all = plans
        self._desired = desired
        self._plans = {host: plan for host, plan in plans.items() if plan.changes}
        self._watched = [host for host in plans if host in self._plans or not hosts.sessions[host].target.ssh]
        """Those that change, and those on this machine, which others' changes can reach."""
        self._far = [host for host in self._plans if hosts.sessions[host].target.ssh]
        self._progress = progress
        self._connector = connector
        self._run = run
        self._patience_s = patience_s
        self._keeping = False
        self._going_back = False
        self.drift: dict[str, tuple[Change, ...]] = {}
        """By host, what the root of a container has undone in its own namespace, or kept from being made."""

    def carry_out(self) -> None:
        """Returns when all hosts are as planned, read again, and packets pass, and all of them keep it.

        RolledBackError where something failed, or the user stopped it, and every host is as it was; LeftoverError where not all
        of it could be taken back.
        """
        try:
            self._hosts.run(lambda session: session.call(protocol.Arm(token=self._run)), self._far)
            self._walk(self._plans)
            found = self._mend_others()
            self._check_created(found)
            self._judge("after the apply", found)
            self._hosts.run(self._connector.confirm, self._far)
            self._heed_stop()
            self._keeping = True
            self._hosts.run(lambda session: session.call(protocol.Keep()), self._far)
        except NetctlError as error:
            self._take_back(NetctlError("stopped by the user") if self._hosts.wants_stop and not self._keeping else error)

    # --- forward and back -------------------------------------------------------------------------------------------

    def _walk(self, plans: Mapping[str, HostPlan]) -> None:
        """Both phases on all hosts that change: the lab last on the way down, and first on the way up."""
        hosts = [host for host, plan in plans.items() if plan.changes and host != LAB]
        lab = [LAB] if LAB in plans and plans[LAB].changes else []
        order: tuple[tuple[Phase, list[str]], ...] = (("remove", hosts), ("remove", lab), ("make", lab), ("make", hosts))
        for phase, group in order:
            self._heed_stop()
            self._hosts.run(lambda session, phase=phase: self._walk_phase(session, phase), group)  # type: ignore[misc]

    def _heed_stop(self) -> None:
        """A worker heeds the wish to stop only while it has batches to carry out."""
        if self._hosts.wants_stop and not self._going_back:
            raise NetctlError("stopped by the user")

    def _walk_phase(self, session: Session, phase: Phase) -> None:
        shown = "take back" if self._going_back else phase

        def tell(event: Event) -> None:
            with contextlib.suppress(OSError):  # a terminal that has gone is no reason to leave a host half done
                match event:
                    case protocol.Waiting(bridge=bridge, seconds=seconds):
                        self._progress.wait(session.target.host, bridge, seconds)
                    case protocol.Progress(done=done, total=total):
                        self._progress.update(session.target.host, shown, done, total)

        outcome = session.call(protocol.Apply(phase=phase), tell)
        if outcome.failure:
            what = f"{outcome.failure.ref}: " if outcome.failure.ref else ""
            raise NetctlError(f"{what}{outcome.failure.message}")

    def _read_again(self, hosts: Iterable[str]) -> dict[str, tuple[Change, ...]]:
        """By host, what differs from what is wanted there."""
        return self._hosts.run(lambda session: session.call(protocol.Check()), hosts)

    def _mend_others(self) -> dict[str, tuple[Change, ...]]:
        """Make again what a host did not touch, and has lost to another's change. By host, what differs then."""
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
            self._walk(self._hosts.run(lambda session: session.call(protocol.Mend(host=session.target.host)), lost))
        return found

    def _check_created(self, answers: Mapping[str, tuple[Change, ...]]) -> None:
        """NetctlError for an engine's container that the plan created and that has ended. Its engine may notice that late.

        One that was there before and ends is drift, like all else that its root can do (see `_judge`).
        """
        for host, plan in self._plans.items():
            created = {change.ref for change in plan.changes if change.before is None or change.recreate}
            for change in answers.get(host, ()):
                if change.ref in created and isinstance(change.after, EngineContainer) and change.after.is_ended(change.before):
                    raise NetctlError(f"{host}: {change.after.describe()} ended at once", change.after.logs_help)

    def _judge(self, when: str, answers: Mapping[str, tuple[Change, ...]]) -> None:
        """Nothing may differ from what is wanted. NetctlError with what does.

        What the root of a container can undo in its own namespace is no failure, but drift: else any of them could keep all
        hosts from being changed.
        """
        self.drift.clear()
        for host, answer in answers.items():
            changes, exposed = split_exposed(answer)
            if exposed:
                self.drift[host] = exposed
            if changes:
                shown = visible_line("; ".join(f"{change.ref}: {change.reason}" for change in changes[:SHOWN_MAX]))
                more = f", and {len(changes) - SHOWN_MAX} more" if len(changes) > SHOWN_MAX else ""
                raise NetctlError(f"{host} is not as it should be {when}: {shown}{more}")

    # --- where it fails ---------------------------------------------------------------------------------------------

    def _take_back(self, cause: NetctlError) -> NoReturn:
        """Take back what was done on every host: RolledBackError, or LeftoverError."""
        self._going_back = True
        back, lost = self._hosts.attempt(self._plan_back, self._watched)
        try:
            self._walk(back)
            self._judge("after the rollback", self._read_again(back))
            self._hosts.run(lambda session: session.call(protocol.Commit()), back)
        except NetctlError as error:
            raise LeftoverError(
                _add(cause.message, f"and not all of it could be taken back: {error.message}"),
                _join(cause.help_text, error.help_text, TAKES_OVER),
            ) from cause
        if lost:
            raise self._left_alone(cause, lost) from cause
        raise RolledBackError(_add(cause.message, "every host is as it was before"), cause.help_text) from cause

    def _plan_back(self, session: Session) -> HostPlan:
        """The way back, from the worker that made the plan; where that has died, from another that is told what was before."""
        host = session.target.host
        try:
            return session.call(protocol.Rollback(host=host))
        except WorkerDiedError:
            self._connector.revive(session)
            before = state_before(self._desired.get(host, HostState({})), self._all[host].changes)
            return session.call(protocol.RollbackTo(host=host, before=before))

    def _left_alone(self, cause: NetctlError, lost: Mapping[str, NetctlError]) -> LeftoverError:
        """Some hosts went back, and others could not be told to."""
        words = f"every host that can be reached is as it was before, and not {merge_errors(lost).message}"
        names, one = ", ".join(lost), len(lost) == 1
        if not all(self._hosts.sessions[host].target.ssh for host in lost):
            help_text = _join(cause.help_text, merge_errors(lost).help_text, TAKES_OVER)
        elif self._keeping:
            help_text = (
                f"whether {names} {'was' if one else 'were'} still told to keep the change is not known:"
                f" /run/netctl/local/*.log there says so within {self._patience_s:.0f} s; the next apply makes all hosts alike"
            )
        else:
            help_text = (
                f"{names} {'takes itself' if one else 'take themselves'} back within {self._patience_s:.0f} s"
                f" of being lost, and {'says' if one else 'say'} so there in /run/netctl/local/*.log"
            )
        return LeftoverError(_add(cause.message, words), help_text)


def _add(message: str, more: str) -> str:
    """A sentence that goes on, on a line of its own where there are several already."""
    return f"{message}\n{more}" if "\n" in message else f"{message}; {more}"


def _join(*help_texts: str) -> str:
    """What there is to do, a line each, and nothing twice."""
    return "\n".join(dict.fromkeys(filter(None, help_texts)))
