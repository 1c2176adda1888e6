"""`netctl verify`: tests with packets what the file allows and forbids, from inside every namespace.

It changes nothing permanently: during the probes a host has one more link, which the kernel deletes with the process
(`kernel.foreign_link`).

With --host, only the probes that start there are sent.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file, add_host
from reconciler.errors import HostError, VerificationError

if TYPE_CHECKING:
    from reconciler.cli.common import Job
    from reconciler.probes.model import ProbePlan
    from reconciler.topology.types import Topology

EXAMPLES = """\
  netctl verify                       send probes from inside every namespace, print a matrix
exit status: 0 as the file says, 6 not
"""


def add_arguments(parser: Parser) -> None:
    """FILE and --host."""
    add_file(parser)
    add_host(parser)


def run(options: argparse.Namespace) -> int:
    """0 if the network is as the file says, 6 if a probe finds a difference."""
    from dataclasses import replace

    from reconciler.cli.common import open_job, palette, plan_present, print_json
    from reconciler.cli.status import read_status
    from reconciler.cli.terminal import show, width
    from reconciler.plan.document import CODEC
    from reconciler.render.suspicions import find_suspicions
    from reconciler.render.verify import compile_verification, render_verification
    from reconciler.verify.expectations import compile_probes
    from reconciler.verify.suspects import name_suspects

    only, options.host = options.host, None  # listeners may be needed on every host
    with open_job(options, lock=False) as job:
        begun = time.monotonic()
        _require_hosts(job)
        topology, notes = _present(job)
        plan = _limit(compile_probes(topology, job.desired.resolved, job.facts), only)
        plan = replace(plan, notes=(*plan.notes, *notes))
        results = name_suspects(job.fleet.probe(plan.probes), topology, job.desired.hosts, job.facts)
        has_failed = not all(result.passed for result in results)
        plans = plan_present(job.fleet, job.desired) if has_failed else {}
    causes = find_suspicions(read_status(job, plans)) if has_failed else ()
    document = compile_verification(job.topology.name, results, plan.notes, causes)
    if options.json:
        print_json(CODEC.encode(document))
    else:
        show(render_verification(document, palette(), elapsed_s=time.monotonic() - begun, width=width()))
    return 0 if document.passed else VerificationError.exit_status


def _present(job: Job) -> tuple[Topology, tuple[str, ...]]:
    """The topology without the containers of other programs that do not run, and a note for each of these."""
    from dataclasses import replace

    absent = {conflict.awaited: conflict.reason for conflict in job.desired.conflicts if conflict.awaited}
    found = job.topology.containers.items()
    containers = {name: each for name, each in found if name not in absent and each.share not in absent}
    notes = tuple(f"{name} is left out, because it does not run: {reason}" for name, reason in absent.items())
    return replace(job.topology, containers=containers), notes


def _limit(plan: ProbePlan, only: str | None) -> ProbePlan:
    from dataclasses import replace

    from reconciler.state.ref import LAB

    return replace(plan, probes=tuple(p for p in plan.probes if p.host in (only, LAB))) if only else plan


def _require_hosts(job: Job) -> None:
    """HostError if a lab host does not exist: every probe would fail for the same reason."""
    absent = [name for name, facts in job.facts.items() if name in job.topology.hosts and not facts.exists]
    if absent:
        verb = "does" if len(absent) == 1 else "do"
        raise HostError(f"{', '.join(absent)} {verb} not exist", "run `netctl apply` to create the lab")


COMMAND = Command("verify", "test with packets what the file allows and forbids", EXAMPLES, add_arguments, run)
