"""`netctl status`: the live resources, in step or drifted, by host and container."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file, add_host

if TYPE_CHECKING:
    from reconciler.cli.common import Job
    from reconciler.render.status import AgentStatus, Foreign

DRIFT = 1
EXAMPLES = """\
  netctl status                       in step, drifted, missing: by host and container
exit status: 0 in step, 1 drift
"""


def add_arguments(parser: Parser) -> None:
    """FILE, --host and --verbose."""
    add_file(parser)
    add_host(parser)
    parser.add_argument("--verbose", "-v", action="store_true", help="count the connections of each container, too")


def run(options: argparse.Namespace) -> int:
    """0 if everything is in step, 1 if any resource has drifted or is missing.

    HostError, after the status, if a foreign resource conflicts with a missing one.
    """
    from dataclasses import replace

    from reconciler.cli.common import open_job, palette, plan_present, print_json, warn_of_slow_paths, warn_of_starts
    from reconciler.compile.conflicts import refuse
    from reconciler.plan.document import CODEC
    from reconciler.render.connections import compile_shares, shares_of
    from reconciler.render.status import compile_status, render_status

    with open_job(options, lock=False, to_apply=False) as job:
        plans = plan_present(job.fleet, job.desired)
        shares = shares_of(job.topology, job.desired.resolved, tuple(plans)) if options.verbose else {}
        wanted = {host: [address for share in found for address in share.addresses] for host, found in shares.items()}
        counts = job.fleet.count_connections(wanted)
    used = {host: compile_shares(found, counts[host]) for host, found in shares.items()}
    foreign = {host: (*drops, *_intruders(job, host)) for host, drops in _drops(job).items()}
    waiting = _waiting(job)
    document = compile_status(job.topology.name, tuple(plans.values()), job.desired.hosts, job.facts, used, foreign, waiting)
    document = replace(document, agents=_agents(job))
    if options.json:
        print_json(CODEC.encode(document))
    else:
        print(render_status(document, palette()))
    warn_of_slow_paths(job)
    warn_of_starts(job)
    refuse(tuple(conflict for conflict in job.desired.conflicts if not conflict.awaited))
    return 0 if document.in_step else DRIFT


def _waiting(job: Job) -> dict[str, dict[str, str]]:
    """By host, the containers that other programs are to run, and why they have no network."""
    found: dict[str, dict[str, str]] = {}
    for conflict in job.desired.conflicts:
        if conflict.awaited:
            found.setdefault(conflict.host, {})[conflict.awaited] = conflict.reason
    return found


def _agents(job: Job) -> tuple[AgentStatus, ...]:
    from dataclasses import fields

    from reconciler.agent.state import read_states
    from reconciler.render.status import AgentStatus

    states = read_states(job.topology.name, job.topology.hosts)
    return tuple(
        AgentStatus(**{each.name: getattr(state, each.name) for each in fields(AgentStatus)}) for state in states.values()
    )


def _drops(job: Job) -> dict[str, tuple[Foreign, ...]]:
    from reconciler.cli.common import drops_of
    from reconciler.render.status import Foreign

    return {
        host: tuple(Foreign(drop.kind, drop.name, drop.detail, help_text) for drop, help_text in drops)
        for host, drops in drops_of(job).items()
    }


def _intruders(job: Job, host: str) -> Iterator[Foreign]:
    from reconciler.render.status import Foreign

    for each in job.desired.intruders.get(host, ()):
        source = each.source
        yield Foreign(source.kind, source.name, f"{source.detail} {each.effect}", each.help_text)


COMMAND = Command("status", "list what is in step, drifted or missing", EXAMPLES, add_arguments, run)
