"""`netctl version`: the version of netctl, and of what it runs on."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Command, Parser

FORMAT_VERSION = 1
EXAMPLES = """\
  netctl version                      netctl, Python and the kernel, as a report of a defect needs them
  netctl version --json
"""


def add_arguments(parser: Parser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """0."""
    import platform

    from reconciler import __version__

    python, kernel = platform.python_version(), platform.release()
    if options.json:
        from reconciler.cli.common import print_json

        print_json({"format_version": FORMAT_VERSION, "netctl": __version__, "python": python, "kernel": kernel})
    else:
        print(f"netctl {__version__} (Python {python}, kernel {kernel})")
    return 0


COMMAND = Command("version", "print the version", EXAMPLES, add_arguments, run)
