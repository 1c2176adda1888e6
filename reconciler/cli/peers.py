"""Machines that only a host on another machine reports: netctl shows them, and connects if the user agrees.

For `apply` and `destroy`. On a terminal, netctl asks the user. Else `--yes` is the answer; without it netctl names
them, with the command that clears them.
"""

from __future__ import annotations

import argparse
import sys

from reconciler.fleet.peers import Dropped, ReportedPeer
from reconciler.fleet.target import Target


def choose_peers(options: argparse.Namespace, topology: str, dropped: Dropped) -> tuple[Target, ...]:
    """The reported machines that netctl may connect to: all, or none. Those that are left out are reported."""
    for what, by in dropped.refused:
        print(f"warning: {by} remembers an invalid destination, which is ignored: {what[:200]!r}", file=sys.stderr)
    if not dropped.reported:
        return ()
    if getattr(options, "yes", False) or _ask(options, topology, dropped.reported):
        return tuple(each.target for each in dropped.reported)
    warn_of_reported(topology, dropped)
    return ()


def warn_of_reported(topology: str, dropped: Dropped) -> None:
    """Report the machines that netctl does not connect to."""
    for each in dropped.reported:
        print(f"warning: {_describe(topology, each)}; netctl does not connect there without your consent", file=sys.stderr)
        print(f"help: if that is so: netctl destroy --name {topology} --host {each.target.destination}", file=sys.stderr)


def _ask(options: argparse.Namespace, topology: str, reported: tuple[ReportedPeer, ...]) -> bool:
    if options.command not in ("apply", "destroy") or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    for each in reported:
        print(_describe(topology, each), file=sys.stderr)
    print("Connect there by ssh, and remove it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _describe(topology: str, reported: ReportedPeer) -> str:
    return f"host {reported.by} says that {topology} is also on {reported.target.host} ({reported.target.destination})"
