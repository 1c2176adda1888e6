"""One packet on its way, followed by nftables on all hosts."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import NetctlError
from reconciler.fleet.fleet import Fleet
from reconciler.fleet.session import Session
from reconciler.probes.model import Probe, Result
from reconciler.state.trace import TraceEvent, TraceRequest
from reconciler.worker import protocol

Events = Mapping[str, tuple[TraceEvent, ...]]
"""What was seen, by host."""


def trace_probe(fleet: Fleet, requests: Mapping[str, TraceRequest], probe: Probe) -> tuple[Events, Result | None]:
    """Send one probe, and follow its packet on these hosts. NetctlError if a host cannot."""
    try:
        fleet.call(lambda session: session.call(protocol.StartTrace(trace=requests[session.target.host])), requests)
        results = fleet.probe((probe,))
    except NetctlError:
        fleet.call(_finish, requests)
        raise
    return fleet.call(_finish, requests), next(iter(results), None)


def _finish(session: Session) -> tuple[TraceEvent, ...]:
    return session.call(protocol.FinishTrace())
