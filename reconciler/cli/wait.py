"""`netctl wait`: returns when the network is as the file says, for scripts and units that need it first."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from reconciler.cli.parser import Command, Parser, add_file_option

if TYPE_CHECKING:
    from reconciler.topology.types import Topology

LATE = 1
PAUSE_S = 0.3
"""Between two readings."""
EXAMPLES = """\
  netctl wait                         until all is as topology.yaml says
  netctl wait --timeout 10 web        until container web has its network
exit status: 0 in step, 1 not within the time
"""


def add_arguments(parser: Parser) -> None:
    """CONTAINER, the file, and how long."""
    parser.add_argument("container", nargs="?", metavar="CONTAINER", help="wait for the network of this one only")
    add_file_option(parser)
    parser.add_argument("--timeout", metavar="S", type=_parse_timeout, default=60.0, help="how long to wait (default: 60)")


def run(options: argparse.Namespace) -> int:
    """0 as soon as a reading finds nothing that differs; 1 if none does within the time."""
    import sys

    from reconciler.cli.common import check_name
    from reconciler.errors import HostError, LockedError
    from reconciler.state.visible import visible
    from reconciler.topology.load import load_topology

    topology = load_topology(options.file)
    if options.container and not topology.may_have(options.container):
        origins = (container.origin for container in topology.declared)
        check_name("container", options.container, (*topology.containers, *origins))
    deadline_s = time.monotonic() + options.timeout
    while True:
        why = ""
        try:
            why = _find_difference(topology, options.container)
        except (HostError, LockedError) as error:  # an engine that starts, a container that goes while it is read
            why = error.message
        if not why:
            return 0
        if time.monotonic() >= deadline_s:
            print(visible(f"not in step after {options.timeout:g} s: {why}"), file=sys.stderr)
            return LATE
        time.sleep(PAUSE_S)


def _find_difference(topology: Topology, container: str | None) -> str:
    """What is not in step, in a few words; "" if nothing is. Without a name, members may be away."""
    from reconciler.cli.common import plan_present
    from reconciler.compile import compile_topology
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import targets_of
    from reconciler.render.status import IN_STEP, compile_status
    from reconciler.state.subject import Subject

    targets = targets_of(topology)
    with Fleet.start(sum(target.ssh is None for target in targets)) as fleet:
        fleet.greet(targets, "netctl wait")
        facts = fleet.read(lock=False)
        desired = compile_topology(topology, facts, to_apply=False)
        found = desired.topology.containers.values()
        names = {one.name for one in found if container in (one.name, one.origin)}
        awaited = [one for one in desired.conflicts if (one.awaited in names if container else not one.is_member)]
        lacking = container if container and not names else ""
        if waited := lacking or next((one.awaited for one in awaited if one.awaited), ""):
            return f"{Subject.container(waited)} does not run"
        plans = plan_present(fleet, desired)
    status = compile_status(topology.name, tuple(plans.values()), desired.hosts, facts, {})
    wanted = {Subject.container(name) for name in names}
    items = (item for host in status.hosts for item in host.items if not names or item.subject in wanted)
    return next((f"{item.subject} is {item.state}" for item in items if item.state != IN_STEP), "")


def _parse_timeout(text: str) -> float:
    """Seconds; ArgumentTypeError."""
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return float(text)


COMMAND = Command("wait", "wait until the network is as the file says", EXAMPLES, add_arguments, run)
