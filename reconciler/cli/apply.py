"""`netctl apply`: brings every host to the file. It prints the plan, executes it, and rolls back if a step fails."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_apply_options, add_dry_run, add_file, add_host, add_plan_options, add_quiet
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.cli.common import Job
    from reconciler.plan.document import PlanDocument

FORMAT_VERSION = 1
EXAMPLES = """\
  netctl apply                        bring all hosts to topology.yaml
  netctl apply --host alpha shop.yaml one host only
  netctl apply --plan p.json          exactly what `netctl diff --plan p.json` has shown
"""


def add_arguments(parser: Parser) -> None:
    """FILE, and the options of an apply."""
    add_file(parser)
    add_host(parser)
    add_quiet(parser)
    add_plan_options(parser)
    parser.add_argument("--plan", metavar="FILE", help="apply exactly the plan saved there, unless it is stale")
    add_apply_options(parser)
    add_dry_run(parser)


def run(options: argparse.Namespace) -> int:
    """0 if every host is as the file says; 1 if the root of a container prevents that in its own network."""
    from reconciler.cli.common import open_job, print_json, split_restarted
    from reconciler.fleet.rollout import containers_of
    from reconciler.plan.document import CODEC, shown_document
    from reconciler.render.published import render_published
    from reconciler.state.visible import visible

    if options.dry_run:
        return _run_dry(options)
    begun = time.monotonic()
    saved = _read_saved(options.plan) if options.plan else ""
    with open_job(options, lock=True) as job:
        document = _apply(job, options, saved)
        drift = containers_of(split_restarted(job.fleet)[0])
    changed = sum(len(host.changes) for host in document.hosts)
    elapsed_s = time.monotonic() - begun
    if options.json:
        answer = {"format_version": FORMAT_VERSION, "changes": changed, "elapsed_s": round(elapsed_s, 3), "drift": list(drift)}
        print_json({**answer, "plan": CODEC.encode(shown_document(document, show_secrets=options.show_secrets))})
    elif changed and not options.quiet:
        besides = f", but for {', '.join(drift)}" if drift else ""
        print(f"{document.topology} is as the file says{besides} ({elapsed_s:.1f} s).")
        if hints := render_published(job.topology, job.desired.resolved, job.facts):
            print(visible(hints))
    return 1 if drift else 0


def _run_dry(options: argparse.Namespace) -> int:
    from reconciler.cli import diff

    if options.plan:
        raise UsageError("--plan and --dry-run exclude each other", "`netctl diff` prints the plan that is due now")
    return diff.run(argparse.Namespace(**{**vars(options), "command": "diff", "commands": False}))


def _read_saved(path: str) -> str:
    from reconciler.cli.planfile import check_approver
    from reconciler.state.jsontext import SIZE_MAX_BYTES

    try:
        with open(path, "rb") as file:  # noqa: PTH123  every start of netctl would import pathlib
            check_approver(path, os.fstat(file.fileno()))
            return file.read(SIZE_MAX_BYTES + 1).decode("utf-8")
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"cannot read {path}: {reason}", "create such a file with `netctl diff --plan FILE`") from None


def _apply(job: Job, options: argparse.Namespace, saved: str) -> PlanDocument:
    """Plan, show, execute; returns the executed plan."""
    from reconciler.agent.state import DESTROYED, end_pause
    from reconciler.cli.common import answer_starts, plan_job, settle_stops, warn_of_drift, warn_of_lost
    from reconciler.cli.terminal import confirm, question_of
    from reconciler.fleet.peers import write_own_peers
    from reconciler.plan.document import check_saved, compile_document
    from reconciler.render.progress import show_progress

    plans = plan_job(job, document=bool(saved or options.json))
    document = compile_document(job.topology.name, tuple(plans.values()))
    if saved:
        check_saved(options.plan, saved, document)
    if not options.quiet:
        _show(job, options, document)
    confirm(options, "" if saved else question_of(document))
    with show_progress(sys.stderr, quiet=options.quiet or options.json) as progress:
        job.fleet.apply(plans, progress)
        answer_starts(job)
        settle_stops()
        job.fleet.remember(job.peers, job.reported)
        write_own_peers(job.topology.name, job.peers, job.fleet)
    end_pause(job.topology.name, DESTROYED)
    warn_of_lost(job.fleet)
    warn_of_drift(job.topology.name, job.fleet)
    return document


def _show(job: Job, options: argparse.Namespace, document: PlanDocument) -> None:
    """The warnings, and the plan unless JSON is printed at the end."""
    from reconciler.cli.common import palette, warn_of_drops, warn_of_file, warn_of_slow_paths
    from reconciler.cli.terminal import show
    from reconciler.plan.document import shown_document
    from reconciler.render.plan import render_plan

    warn_of_file(job.topology, job.desired.resolved)
    warn_of_drops(job)
    warn_of_slow_paths(job)
    if not options.json:
        shown = shown_document(document, show_secrets=options.show_secrets)
        show(render_plan(shown, palette(), verbose=options.verbose))


COMMAND = Command("apply", "bring every host to the file", EXAMPLES, add_arguments, run, changes_hosts=True, aliases=("up",))
