"""`netctl apply`: brings every host to the file. Prints the plan, carries it out, and rolls back where a step fails."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from reconciler.cli.common import (
    Job,
    drift_of,
    open_job,
    palette,
    print_json,
    settle_stops,
    warn_of_drift,
    warn_of_drops,
    warn_of_file,
    warn_of_lost,
    warn_of_slow_paths,
)
from reconciler.cli.planfile import check_approver
from reconciler.errors import UsageError
from reconciler.hosts.peers import write_own_peers
from reconciler.plan.document import CODEC, PlanDocument, check_saved, compile_document, shown_document
from reconciler.render.plan import render_plan
from reconciler.render.progress import show_progress
from reconciler.state.jsontext import SIZE_MAX_BYTES

FORMAT_VERSION = 1


def run(options: argparse.Namespace) -> int:
    """0 when every host is as the file says; 1 where the root of a container keeps its own network from being so."""
    begun = time.monotonic()
    saved = _read_saved(options.plan) if options.plan else ""
    with open_job(options, lock=True) as job:
        document = _apply(job, options, saved)
        drift = drift_of(job.fleet)
    changed = sum(len(host.changes) for host in document.hosts)
    elapsed_s = time.monotonic() - begun
    if options.json:
        told = {"format_version": FORMAT_VERSION, "changes": changed, "elapsed_s": round(elapsed_s, 3), "drift": list(drift)}
        print_json({**told, "plan": CODEC.encode(shown_document(document, show_secrets=options.show_secrets))})
    elif changed and not options.quiet:
        besides = f", but for {', '.join(drift)}" if drift else ""
        print(f"{document.topology} is as the file says{besides} ({elapsed_s:.1f} s).")
    return 1 if drift else 0


def _read_saved(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            check_approver(path, os.fstat(file.fileno()))
            return file.read(SIZE_MAX_BYTES + 1).decode("utf-8")
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{path} cannot be read: {reason}", "such a file is made by `netctl diff --plan FILE`") from None


def _apply(job: Job, options: argparse.Namespace, saved: str) -> PlanDocument:
    """Plan, show, carry out; the plan that was carried out."""
    plans = job.fleet.plan(job.desired.hosts, document=bool(saved or options.json))
    document = compile_document(job.topology.name, tuple(plans.values()))
    if saved:
        check_saved(options.plan, saved, document)
    if not options.quiet:
        warn_of_file(job.topology, job.desired.resolved)
        warn_of_drops(job)
        warn_of_slow_paths(job)
        if not options.json:
            shown = shown_document(document, show_secrets=options.show_secrets)
            print(render_plan(shown, palette(), verbose=options.verbose), flush=True)
    with show_progress(sys.stderr, quiet=options.quiet or options.json) as progress:
        job.fleet.apply(plans, progress)
        settle_stops()
        job.fleet.remember(job.peers, job.told)
        write_own_peers(job.topology.name, job.peers, job.fleet)
    warn_of_lost(job.fleet)
    warn_of_drift(job.topology.name, job.fleet)
    return document
