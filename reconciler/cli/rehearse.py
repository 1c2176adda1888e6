"""`netctl rehearse`: applies, verifies and destroys a topology in a lab of its own on this machine, and touches nothing else.

Hosts become lab hosts, and containers plain namespaces (`topology.rehearsal`). The lab is in a sandbox
(`kernel.sandbox`), so it meets no topology of the same name. If netctl is killed, the kernel deletes all of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import IO, TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from reconciler.render.verify import VerifyDocument
    from reconciler.topology.rehearsal import Rehearsal
    from reconciler.topology.types import Topology

EXAMPLES = """\
  netctl rehearse production.yaml     prove the file in a throw-away lab on this machine
  netctl rehearse production.yaml --junit report.xml
                                      with a report for CI
exit status: 0 as the file says, 6 not
"""


def add_arguments(parser: Parser) -> None:
    """FILE, and the report."""
    add_file(parser)
    parser.add_argument("--junit", metavar="FILE", help="also write the results as JUnit's XML there")


def run(options: argparse.Namespace) -> int:
    """The exit status of a verification: 0, or 6 if a probe finds a difference."""
    from reconciler.cli.common import load
    from reconciler.kernel.sandbox import enter_sandbox
    from reconciler.topology.rehearsal import rehearse

    begun = time.monotonic()
    rehearsal = rehearse(load(options))
    report = _open_report(options.junit)
    # All files are read and opened before: in the sandbox, /run is another one.
    if (status := enter_sandbox()) is not None:
        return status
    if not options.json:
        for note in rehearsal.notes:
            print(f"note: {note}", file=sys.stderr)
    document, changes = _carry_out(rehearsal.topology, quiet=options.json)
    _show(options, rehearsal, document, changes, time.monotonic() - begun, report)
    return 0 if document.passed else VerificationError.exit_status


def _open_report(path: str | None) -> IO[str] | None:
    if not path:
        return None
    try:
        return open(path, "w", encoding="utf-8")  # noqa: PTH123  written and closed in the sandbox
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot write {path}: {reason}", "name a file in a directory that you can write to") from None


def _carry_out(topology: Topology, *, quiet: bool) -> tuple[VerifyDocument, int]:
    """Apply, verify and destroy; the results, and the number of changes of the apply."""
    from reconciler.compile import compile_topology
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import targets_of
    from reconciler.render.progress import show_progress
    from reconciler.render.verify import compile_verification
    from reconciler.verify.expectations import compile_probes
    from reconciler.verify.suspects import name_suspects

    targets = targets_of(topology)
    with Fleet.start(len(targets)) as fleet:
        fleet.greet(targets, f"netctl rehearse {topology.path}")
        desired = compile_topology(topology, fleet.read(lock=True))
        plans = fleet.plan(desired.hosts)
        with show_progress(sys.stderr, quiet=quiet) as progress:
            fleet.apply(plans, progress)
            facts = fleet.read(lock=False)
            plan = compile_probes(topology, desired.resolved, facts)
            results = name_suspects(fleet.probe(plan.probes), topology, desired.hosts, facts)
            fleet.apply(fleet.plan({}), progress)
    changes = sum(len(each.changes) for each in plans.values())
    return compile_verification(topology.name, results, plan.notes), changes


def _show(
    options: argparse.Namespace,
    rehearsal: Rehearsal,
    document: VerifyDocument,
    changes: int,
    elapsed_s: float,
    report: IO[str] | None,
) -> None:
    from reconciler.cli.common import palette, print_json
    from reconciler.plan.document import CODEC
    from reconciler.render.junit import render_junit
    from reconciler.render.rehearsal import FORMAT_VERSION, RehearsalDocument
    from reconciler.render.verify import render_verification

    if report:
        with report:
            report.write(render_junit(document, elapsed_s))
    if options.json:
        results = (document.topology, document.passed, rehearsal.notes, changes, round(elapsed_s, 3), document)
        print_json(CODEC.encode(RehearsalDocument(FORMAT_VERSION, *results)))
        return
    print(render_verification(document, palette(), elapsed_s=elapsed_s))
    print(f"{document.topology} was rehearsed: applied ({changes} changes), verified and destroyed. Nothing is left.")


COMMAND = Command("rehearse", "prove the file in a throw-away lab on this machine", EXAMPLES, add_arguments, run)
