"""Requests to a worker whose answers are checked: a host must not make its controller act on what was not asked for."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.fleet.session import Session
from reconciler.plan.document import HostPlan, complete_plan
from reconciler.probes.model import OUTCOMES, Listener, Opened, Probe, Result
from reconciler.state.grammar import check_facts
from reconciler.state.host import HostFacts, HostState
from reconciler.state.jsontext import MalformedError
from reconciler.worker import protocol


def read_host(session: Session) -> HostFacts:
    """The facts of the host, checked."""
    target = session.target
    request = protocol.Read(engines=target.containers, members=target.members, openvswitch=target.openvswitch_needed)
    facts = session.call(request)
    with session.reading(request):
        check_facts(facts)
    return facts


def plan_host(session: Session, desired: HostState, *, document: bool) -> HostPlan:
    """The plan of the host for a desired state, checked."""
    known, session.planned = session.planned, None
    changed, gone = (desired, ()) if known is None else desired.since(known)
    request = protocol.Plan(host=session.target.host, desired=changed, document=document, is_change=known is not None, gone=gone)
    answer = session.call(request)
    session.planned = desired
    with session.reading(request):
        plan = complete_plan(answer, desired)
        if plan.host != session.target.host or bool(plan.fingerprint) != document:
            raise MalformedError("a plan that was not asked for")
    return plan


def listen_host(session: Session, listeners: Iterable[Listener]) -> Opened:
    """Open the listeners of the host; which are open."""
    request = protocol.OpenListeners(listeners=tuple(each for each in listeners if each.host == session.target.host))
    opened = session.call(request)
    with session.reading(request):
        if not {*opened.taken, *(each for each, _ in opened.failed)} <= set(request.listeners):
            raise MalformedError("a listener that was not asked for")
    return opened


def probe_host(session: Session, probes: tuple[Probe, ...], opened: Opened) -> tuple[Result, ...]:
    """Run the probes of the host; their results in the same order."""
    request = protocol.RunProbes(probes=tuple(each for each in probes if each.host == session.target.host), opened=opened)
    results = session.call(request)
    with session.reading(request):
        asked = tuple(result.probe for result in results) == request.probes
        if not asked or any(result.finding.outcome not in OUTCOMES for result in results):
            raise MalformedError("results of probes that were not asked for")
    return results
