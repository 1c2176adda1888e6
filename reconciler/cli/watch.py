"""`netctl watch`: prints what an agent finds and repairs, as it happens."""

from __future__ import annotations

import argparse
import time

from reconciler.cli.parser import Command, Parser, add_file

PAUSE_S = 0.2
"""How late an event may be printed."""
EXAMPLES = """\
  netctl watch                        what the agent repairs, until Ctrl-C
  netctl watch --json | jq .text      for programs: one object a line
"""


def add_arguments(parser: Parser) -> None:
    """FILE and --json."""
    add_file(parser)


def run(options: argparse.Namespace) -> int:
    """0 when the agent has ended. HostError if there is none."""
    import json

    from reconciler.agent.state import find_hosts, follow_events, read_states
    from reconciler.errors import HostError
    from reconciler.state.visible import visible_line
    from reconciler.topology.load import load_topology

    name = load_topology(options.file).name
    if not read_states(name, find_hosts(name)):
        raise HostError(f"no agent holds {name} on this machine", f"start one: netctl agent {options.file}")
    looked_s = time.monotonic()
    for event in follow_events(name, PAUSE_S):
        if event is not None:
            print(json.dumps(event) if options.json else visible_line(f"{event.get('time')} {event.get('text')}"), flush=True)
        elif time.monotonic() - looked_s > 1:
            looked_s = time.monotonic()
            if not read_states(name, find_hosts(name)):
                return 0
    return 0


COMMAND = Command("watch", "print what an agent repairs, as it happens", EXAMPLES, add_arguments, run)
