"""`netctl validate`: reads and checks the file only. With --json, faults and warnings as lists, for editors and CI."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from reconciler.cli.parser import Command, Parser, add_file
from reconciler.errors import Fault, TopologyError

FORMAT_VERSION = 1
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
    from reconciler.render.errors import SHOWN_FAULTS
    from reconciler.topology.advice import find_advice

    try:
        topology = load(options)
        check_alone(topology)
    except TopologyError as error:
        faults = {"faults": _listed(error.faults[:SHOWN_FAULTS]), "count": len(error.faults)}
        answer = {"path": error.path, "valid": False, **faults, "warnings": []}
        print_json({"format_version": FORMAT_VERSION, **answer})
        return error.exit_status
    answer = {"path": options.file, "valid": True, "topology": topology.name, "faults": []}
    print_json({"format_version": FORMAT_VERSION, **answer, "warnings": _listed(find_advice(topology))})
    return 0


def _listed(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [{**fault.position._asdict(), "message": fault.message, "help": fault.help_text} for fault in faults]


COMMAND = Command("validate", "read and check the file only", EXAMPLES, add_arguments, run)
