"""`netctl validate`: reads and checks the file only. With --json, the faults as a list, for editors and CI."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from reconciler.cli.common import load, print_json, warn_of_file
from reconciler.compile import check_alone
from reconciler.errors import Fault, TopologyError

FORMAT_VERSION = 1


def run(options: argparse.Namespace) -> int:
    """0 where the file is good; TopologyError else."""
    if options.json:
        return _run_json(options)
    topology = load(options)
    counts = ((len(topology.hosts), "host"), (len(topology.subnets), "subnet"), (len(topology.containers), "container"))
    told = ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)
    check_alone(topology)
    print(f"{options.file} is valid: {topology.name}, {told}")
    return 0


def _run_json(options: argparse.Namespace) -> int:
    try:
        topology = load(options)
    except TopologyError as error:
        faults = [{**asdict(fault.position), "message": fault.message, "help": fault.help_text} for fault in error.faults]
        print_json({"format_version": FORMAT_VERSION, "path": error.path, "valid": False, "faults": faults})
        return error.exit_status
    print_json({"format_version": FORMAT_VERSION, "path": options.file, "valid": True, "topology": topology.name, "faults": []})
        check_alone(topology)
    return 0
