"""`netctl explain FROM TO[:PORT[/PROTO]]`: the path of a packet, hop by hop, and what would open it if it ends."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file_option, parse_name
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.common import Job
    from reconciler.explain.ask import PathAnswer, PathTarget
    from reconciler.plan.document import HostPlan
    from reconciler.render.explain import ExplainDocument, TraceView
    from reconciler.state.host import HostFacts, HostState
    from reconciler.state.ref import Ref
    from reconciler.topology.types import Topology

ENDS = 1
"""The status if a packet does not pass."""
EXAMPLES = """\
  netctl explain web db:5432          each hop of a TCP connection, as the hosts are now
  netctl explain web db               the same for a ping
  netctl explain outside web:8080     a published port, from the world outside
  netctl explain web 10.45.0.20:53/udp --file-only
                                      from the file alone: no host is touched
  netctl explain web db:5432 --trace  send a packet, and show which rules it really matches
exit status: 0 it passes, 1 it does not, or the traced packet met something else
"""


def add_arguments(parser: Parser) -> None:
    """FROM, TO, and where to look."""
    help_text = "a container, a host, `outside`, or an address"
    parser.add_argument("source", metavar="FROM", type=parse_name, help=help_text)
    parser.add_argument("target", metavar="TO[:PORT[/PROTO]]", type=parse_name, help="the same; without a port it is a ping")
    add_file_option(parser)
    parser.add_argument("--file-only", action="store_true", help="explain what the file asks for; touch no host")
    help_text = "send one packet, and follow it with nftables' trace on all hosts"
    parser.add_argument("--trace", action="store_true", help=help_text)
    parser.add_argument("--verbose", "-v", action="store_true", help="print the answer's path and all rules of nftables, too")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """0 if the packet passes, 1 if not, or if a traced packet did not do as explained."""
    from reconciler.cli.common import palette, print_json
    from reconciler.explain.ask import parse_target
    from reconciler.plan.document import CODEC
    from reconciler.render.explain import render_explanation

    target = parse_target(options.target)
    if options.trace and options.file_only:
        raise UsageError("--trace and --file-only exclude each other", "--trace sends a packet, so it needs the hosts")
    document = _from_file(options, target) if options.file_only else _from_hosts(options, target)
    if options.json:
        print_json(CODEC.encode(document))
    else:
        print(render_explanation(document, palette(), verbose=options.verbose))
    is_confirmed = all(path.trace is None or path.trace.agrees for path in document.paths)
    return 0 if document.passes and is_confirmed else ENDS


def _from_file(options: argparse.Namespace, target: PathTarget) -> ExplainDocument:
    from reconciler.cli.common import load
    from reconciler.explain.ask import ask
    from reconciler.explain.build import build_world
    from reconciler.render.explain import compile_explanation

    topology, states, facts = load_states(load(options))
    answers = ask(build_world(topology, states, facts), options.source, target)
    return compile_explanation(topology, (options.source, options.target), answers)


def _from_hosts(options: argparse.Namespace, target: PathTarget) -> ExplainDocument:
    from reconciler.cli.common import open_job, warn_of_drops
    from reconciler.explain.ask import answer, ask
    from reconciler.explain.build import build_world
    from reconciler.render.explain import compile_explanation

    options.host = None
    with open_job(options, lock=False, to_apply=False) as job:
        # Also of containers that other programs are to run: one that does not run has no network.
        plans = job.fleet.plan(job.desired.hosts)
        topology, desired = job.topology, job.desired.hosts
        expected = ask(build_world(topology, desired, job.facts), options.source, target)
        live = build_world(topology, live_states(desired, plans), job.facts)
        answers: tuple[PathAnswer, ...] = tuple(answer(live, one.question) for one in expected)
        traces = [_trace(job, one, wanted) for one, wanted in zip(answers, expected, strict=True)] if options.trace else []
        warn_of_drops(job)  # other programs' rules are no records
    return compile_explanation(topology, (options.source, options.target), answers, expected, reasons_of(plans), traces)


def _trace(job: Job, live: PathAnswer, wanted: PathAnswer) -> TraceView:
    """The real path of a packet like that of the answer."""
    from reconciler.explain.ask import start_of
    from reconciler.explain.trace import trace_probe_of, trace_requests
    from reconciler.fleet.trace import trace_probe
    from reconciler.render.explain import TraceView, why_untraced

    if why := why_untraced(live):
        return TraceView({}, None, why)
    probe = trace_probe_of(live, start_of(live.world, live.question.start))
    requests = {host: request for host, request in trace_requests((live, wanted)).items() if job.facts[host].exists}
    events, result = trace_probe(job.fleet, requests, probe)
    return TraceView(events, result)


def live_states(desired: Mapping[str, HostState], plans: Mapping[str, HostPlan]) -> dict[str, HostState]:
    """The live records of every host: the desired ones without the plan's changes."""
    from reconciler.state.host import HostState

    found = {}
    for host, state in desired.items():
        records = dict(state.records)
        for change in plans[host].changes if host in plans else ():
            records.pop(change.ref, None)
            if change.before is not None:
                records[change.before.ref] = change.before
        found[host] = HostState(records)
    return found


def reasons_of(plans: Mapping[str, HostPlan]) -> dict[tuple[str, Ref], str]:
    """By host and record, the difference to the file."""
    return {(host, change.ref): change.reason or "it differs" for host, plan in plans.items() for change in plan.changes}


def load_states(topology: Topology) -> tuple[Topology, Mapping[str, HostState], Mapping[str, HostFacts]]:
    """The states that a file asks for, without a host."""
    from reconciler.compile import compile_topology
    from reconciler.explain.ask import assumed_facts

    facts = assumed_facts(topology)
    desired = compile_topology(topology, facts, to_apply=False)
    return desired.topology, desired.hosts, facts


COMMAND = Command("explain", "show the path of a packet, hop by hop, and what ends it", EXAMPLES, add_arguments, run)
