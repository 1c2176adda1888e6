"""`netctl status`: the live resources, in step or drifted, by host and container."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_host, add_names
from reconciler.errors import HostError

if TYPE_CHECKING:
    from reconciler.cli.common import Job
    from reconciler.plan.document import HostPlan
    from reconciler.render.connections import Connections
    from reconciler.render.status import AgentStatus, Foreign, Item, StatusDocument

DRIFT = 1
NAMED = ("container", "subnet")
"""The sorts of things that a user can name."""
EXAMPLES = """\
  netctl status                       what has drifted, and why; what is in step, missing, waiting
  netctl status web db                these containers (or subnets) alone
  netctl status -f shop.yaml --drifted
                                      only what is not in step
  netctl status -v                    a row for everything, each difference, and connections
exit status: 0 in step, 1 drift
"""


def add_arguments(parser: Parser) -> None:
    """FILE, names, and which rows."""
    add_names(parser, "the topology, and the containers or subnets to list; of replicas, also the name that they share")
    add_host(parser)
    parser.add_argument("--drifted", action="store_true", help="list only what is not in step")
    help_text = "a row for each thing, every difference, and the connections of each container"
    parser.add_argument("--verbose", "-v", action="store_true", help=help_text)


def run(options: argparse.Namespace) -> int:
    """0 if everything (or all that is named) is in step, 1 if anything has drifted or is missing.

    HostError, after the status, if a foreign resource conflicts with a missing one.
    """
    from reconciler.cli.common import (
        open_job,
        palette,
        plan_present,
        print_json,
        warn_of_file,
        warn_of_slow_paths,
        warn_of_starts,
    )
    from reconciler.cli.terminal import show
    from reconciler.compile.conflicts import refuse
    from reconciler.plan.document import CODEC
    from reconciler.render.connections import compile_shares, shares_of
    from reconciler.render.status_text import render_status

    with open_job(options, lock=False, to_apply=False) as job:
        is_wanted = _chooser(job, options.names)
        plans = plan_present(job.fleet, job.desired)
        shares = shares_of(job.topology, job.desired.resolved, tuple(plans)) if options.verbose else {}
        wanted = {host: [address for share in found for address in share.addresses] for host, found in shares.items()}
        counts = job.fleet.count_connections(wanted)
    used = {host: compile_shares(found, counts[host]) for host, found in shares.items()}
    document = _choose(read_status(job, plans, used), is_wanted if options.names else None, only_drifted=options.drifted)
    if options.json:
        print_json(CODEC.encode(document))
    else:
        show(render_status(document, palette(), every=options.verbose))
    warn_of_file(job.topology, job.desired.resolved)
    warn_of_slow_paths(job)
    warn_of_starts(job)
    try:
        refuse(tuple(conflict for conflict in job.desired.conflicts if not conflict.awaited))
    except HostError as error:
        error.is_after_answer = True
        raise
    return 0 if document.in_step else DRIFT


def read_status(
    job: Job, plans: Mapping[str, HostPlan], connections: Mapping[str, tuple[Connections, ...]] = MappingProxyType({})
) -> StatusDocument:
    """The status of all hosts that were planned for, with the agents and the foreign resources that conflict."""
    from dataclasses import replace

    from reconciler.render.status import compile_status

    foreign = {host: (*drops, *_intruders(job, host)) for host, drops in _drops(job).items()}
    document = compile_status(
        job.topology.name, tuple(plans.values()), job.desired.hosts, job.facts, connections, foreign, _waiting(job)
    )
    return replace(document, agents=_agents(job))


def _chooser(job: Job, names: list[str]) -> Callable[[Item], bool]:
    """Whether a container or a subnet is named, by its own name or by that of its replicas. UsageError for an unknown name."""
    from reconciler.cli.common import check_name

    origins = {container.name: container.origin for container in job.topology.containers.values()}
    awaited = {conflict.awaited for conflict in job.desired.conflicts if conflict.awaited}
    for name in names:
        check_name("container or subnet", name, (*origins, *origins.values(), *awaited, *job.topology.subnets))
    return lambda item: (
        item.subject.sort in NAMED and (item.subject.name in names or origins.get(item.subject.container_name, "") in names)
    )


def _choose(document: StatusDocument, is_wanted: Callable[[Item], bool] | None, *, only_drifted: bool) -> StatusDocument:
    """The part that was asked for. Of only what has drifted, the counts stay those of all."""
    from dataclasses import replace

    from reconciler.render.status import CALM, select

    chosen = select(document, is_wanted) if is_wanted else document
    if not only_drifted:
        return chosen
    drifted = select(chosen, lambda item: item.state not in CALM)
    return replace(drifted, things=chosen.things)


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
        host: tuple(Foreign(drop.kind, drop.name, f"{drop.effect} ({drop.detail})", help_text) for drop, help_text in drops)
        for host, drops in drops_of(job).items()
    }


def _intruders(job: Job, host: str) -> Iterator[Foreign]:
    from reconciler.render.status import Foreign

    for each in job.desired.intruders.get(host, ()):
        source = each.source
        yield Foreign(source.kind, source.name, f"{source.detail} {each.effect}", each.help_text)


COMMAND = Command("status", "say what has drifted and why, or is missing", EXAMPLES, add_arguments, run)
