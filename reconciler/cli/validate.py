"""`netctl validate`: reads and checks the file only. With --json, faults and warnings as lists, for editors and CI."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import TopologyError

EXAMPLES = """\
  netctl validate shop.yaml           every fault, with its place and what to write
"""


def add_arguments(parser: Parser) -> None:
    """FILE."""
    add_file(parser)


def run(options: argparse.Namespace) -> int:
    """0 if the file is valid; TopologyError otherwise."""
    from reconciler.cli.common import load, warn_of_file
    from reconciler.compile import check_alone

    if options.json:
        return _run_json(options)
    topology = load(options)
    check_alone(topology)
    counts = ((len(topology.hosts), "host"), (len(topology.subnets), "subnet"), (len(topology.declared), "container"))
    warn_of_file(topology)
    answer = ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)
    print(f"{options.file} is valid: {topology.name}, {answer}")
    return 0


def _run_json(options: argparse.Namespace) -> int:
    from reconciler.cli.common import load, print_json
    from reconciler.compile import check_alone
    from reconciler.plan.document import CODEC
    from reconciler.render.errors import SHOWN_FAULTS
    from reconciler.render.validation import FORMAT_VERSION, ValidationDocument, list_faults
    from reconciler.topology.advice import find_advice

    try:
        topology = load(options)
        check_alone(topology)
    except TopologyError as error:
        faults = list_faults(error.faults[:SHOWN_FAULTS])
        print_json(CODEC.encode(ValidationDocument(FORMAT_VERSION, error.path, False, "", len(error.faults), faults)))
        return error.exit_status
    warnings = list_faults(find_advice(topology))
    print_json(CODEC.encode(ValidationDocument(FORMAT_VERSION, topology.path, True, topology.name, 0, warnings=warnings)))
    return 0


COMMAND = Command("validate", "read and check the file only", EXAMPLES, add_arguments, run)
