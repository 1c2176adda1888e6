"""What an agent reports: a line for each cause and repair on standard error, for people or as JSON; and for `netctl watch`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.agent.state import append_event
from reconciler.errors import NetctlError, TopologyError
from reconciler.render.status import describe_difference
from reconciler.state.record import Change
from reconciler.state.visible import visible_line

LINES_MAX = 20
"""Of one repair for people: a flushed ruleset is hundreds of changes. JSON has them all."""


def now() -> str:
    """The time for people and programs: `2026-11-30T12:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass(slots=True)
class Log:
    """Where the agent of a topology reports."""

    topology: str
    is_json: bool = False

    def note(self, event: str, text: str, **details: Any) -> None:
        """One event: a line."""
        self._print(text, self._record(event, text=text, **details))

    def fail(self, event: str, error: NetctlError) -> None:
        """An error that the agent lives with."""
        texts = [error.message]
        if isinstance(error, TopologyError):
            places = ((f"{error.path}:{fault.position.line}:{fault.position.column}", fault) for fault in error.faults)
            texts = [f"{place}: {fault.message}" for place, fault in places]
        for text in texts[:LINES_MAX]:
            self.note(event, f"error: {text}")
        if error.help_text:
            self._print(f"help: {error.help_text}", None)

    def repaired(self, changes: Mapping[str, tuple[Change, ...]], causes: Iterable[str], elapsed_s: float) -> None:
        """A repair: a line for each change."""
        why = ", ".join(causes)
        shown = 0
        for host, found in changes.items():
            for change in found:
                text = f"repaired {host}: {change.record.subject}: {describe_difference(change.masked())} ({why})"
                record = self._record("repair", host=host, ref=list(change.ref), reason=change.reason, causes=why, text=text)
                if shown < LINES_MAX or self.is_json:
                    self._print(text, record)
                shown += 1
        if shown > LINES_MAX and not self.is_json:
            self._print(f"repaired {shown - LINES_MAX:,} more", None)
        self.note(
            "repaired", f"repaired {shown:,} in {elapsed_s:.2f} s", changes=shown, elapsed_s=round(elapsed_s, 3), causes=why
        )

    def _record(self, event: str, **details: Any) -> dict[str, Any]:
        record = {"time": now(), "event": event, "topology": self.topology, **details}
        append_event(self.topology, record)
        return record

    def _print(self, text: str, record: dict[str, Any] | None) -> None:
        as_json = json.dumps(record) if record else ""
        line = as_json if self.is_json else visible_line(text)
        if line:
            with contextlib.suppress(OSError):  # the reader of the log has ended; the hosts still need the agent
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
