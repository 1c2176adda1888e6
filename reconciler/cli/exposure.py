"""`netctl exposure`: what the world, a neighbour on the LAN, each subnet and each container can reach, from the file alone."""

from __future__ import annotations

import argparse
import sys

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import UsageError

CHANGED = 1
EXAMPLES = """\
  netctl exposure                     a table of all that can be reached
  netctl exposure --json > old.json   the same for CI
  netctl exposure --fail-on-change old.json
                                      what the file opens or closes since then
exit status: 0, with --fail-on-change 1 if anything changed
"""


def add_arguments(parser: Parser) -> None:
    """FILE and --fail-on-change."""
    add_file(parser)
    help_text = "compare with an earlier `--json`, and end with 1 if anything differs"
    parser.add_argument("--fail-on-change", metavar="OLD", help=help_text)


def run(options: argparse.Namespace) -> int:
    """0, or 1 if the exposure is not that of the older document."""
    from reconciler.cli.common import load, palette, print_json
    from reconciler.cli.explain import load_states
    from reconciler.explain.build import build_world
    from reconciler.explain.exposure import find_exposure
    from reconciler.plan.document import CODEC
    from reconciler.render.exposure import compile_exposure, parse_exposure, render_differences, render_exposure

    old = parse_exposure(options.fail_on_change, _read(options.fail_on_change)) if options.fail_on_change else None
    topology, states, facts = load_states(load(options))
    document = compile_exposure(topology.name, find_exposure(build_world(topology, states, facts)))
    differences = list(render_differences(old, document, palette())) if old else []
    if options.json:
        print_json(CODEC.encode(document))
    elif old is None:
        print(render_exposure(document, palette()))
    if old is None:
        return 0
    stream = sys.stderr if options.json else sys.stdout
    print("\n".join(["the exposure has changed:", *differences]) if differences else "The exposure is the same.", file=stream)
    return CHANGED if differences else 0


def _read(path: str) -> str:
    from pathlib import Path

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {path}: {reason}", "name a file made by `netctl exposure --json`") from None


COMMAND = Command("exposure", "list what the outside, neighbours, subnets and containers reach", EXAMPLES, add_arguments, run)
