"""`netctl destroy`: deletes all that carries the topology's mark, and restores what it had changed.

The desired state of every host is empty, and the plan is executed like that of an apply, hosts first and the lab last.
With --name no file is needed: netctl clears this machine, and the live lab hosts.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from reconciler.cli.parser import (
    Command,
    Parser,
    add_apply_options,
    add_dry_run,
    add_file,
    add_host,
    add_plan_options,
    add_quiet,
    parse_name,
)
from reconciler.cli.words import default_file
from reconciler.errors import DeclinedError, LeftoverError, NetctlError, UsageError

if TYPE_CHECKING:
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.target import Target
    from reconciler.plan.document import PlanDocument
    from reconciler.topology.outline import Outline
    from reconciler.topology.parsed_file import ParsedFile

FORMAT_VERSION = 1
EXAMPLES = """\
  netctl destroy                      remove what topology.yaml made
  netctl destroy --name shop          without the file: this machine and the lab
  netctl destroy --name shop --host ssh://root@alpha
                                      without the file, another machine
  netctl destroy --keep-going         if a host is gone for good
"""


def add_arguments(parser: Parser) -> None:
    """FILE or --name, and the options of a destroy."""
    add_file(parser, may_lack=True)
    add_host(parser)
    add_quiet(parser)
    add_plan_options(parser)
    parser.add_argument("--name", metavar="TOPOLOGY", type=parse_name, help="the topology's name, if its file is lost")
    help_text = "leave out ssh hosts that cannot be reached, and name them"
    parser.add_argument("--keep-going", action="store_true", help=help_text)
    add_apply_options(parser)
    add_dry_run(parser)


class _Scope(NamedTuple):
    """The hosts of a destroy: those with a connection, and those without."""

    topology: str
    targets: tuple[Target, ...]
    """The hosts in the file or on the command line."""
    others: tuple[Target, ...]
    """Further hosts of the topology."""
    unseen: tuple[Target, ...]
    """Hosts that only another host reports, and that are left alone."""
    left: dict[str, NetctlError]
    """By host, the reason why it could not be reached."""
    peers: dict[str, str]
    """The destinations of the file's other machines."""

    @property
    def destinations(self) -> dict[str, str]:
        """The destination of each host."""
        return {each.host: each.destination for each in (*self.targets, *self.others)}


def run(options: argparse.Namespace) -> int:
    """0 if nothing of the topology is left."""
    from reconciler.cli.common import read_outlined, warn_of_lost
    from reconciler.fleet.fleet import Fleet
    from reconciler.fleet.peers import write_own_peers
    from reconciler.fleet.target import count_workers

    begun = time.monotonic()
    if options.name and options.file:
        raise UsageError("a file and --name exclude each other", "give the one or the other")
    options.file = options.file or default_file()
    parsed, outline = (None, None) if options.name else read_outlined(options.file)
    count = 1 if options.name else count_workers(outline) if outline else 0
    with Fleet.start(count) as fleet:
        scope = _greet_all(options, parsed, outline, fleet)
        document = _clear(options, fleet, scope.topology)
        if options.dry_run:
            return _finish_dry(options, document)
        if options.host:  # the other hosts still have their resources
            cleared = {"", *(target.destination for target in fleet.targets)}
            known = {**scope.destinations, **scope.peers}
            remaining = {host: destination for host, destination in known.items() if destination not in cleared}
        else:
            remaining = {host: scope.destinations[host] for host in scope.left}
        write_own_peers(scope.topology, remaining, fleet)
        warn_of_lost(fleet)
    if not options.host:
        _remove_files(scope)
    _report(options, document, scope, time.monotonic() - begun, has_lost=bool(fleet.lost))
    if scope.left:
        raise _left_over(scope)
    return 0


def _greet_all(options: argparse.Namespace, parsed: ParsedFile | None, outline: Outline | None, fleet: Fleet) -> _Scope:
    """Connect to every host that may have resources of the topology; `parsed` is the file unless it is gone."""
    from reconciler.cli.peers import choose_peers
    from reconciler.fleet.peers import find_dropped

    command = f"netctl destroy {'--name ' + options.name if options.name else options.file}"
    fleet.patience_s = options.rollback_after
    name, targets, peers = _targets(options, parsed, outline, fleet, command)
    left = fleet.greet(targets, command, optional=options.keep_going)
    dropped = find_dropped(name, peers, fleet)  # hosts that were removed from the file, or are not in it
    others, unseen = dropped.known, tuple(each.target for each in dropped.reported)
    if not options.host:
        chosen = choose_peers(options, name, dropped)
        others, unseen = (*others, *chosen), () if chosen else unseen
        left |= fleet.greet(others, command, optional=options.keep_going) if others else {}
    return _Scope(name, targets, others, unseen, left, peers)


def _clear(options: argparse.Namespace, fleet: Fleet, name: str) -> PlanDocument:
    """Plan for an empty state, show, execute; returns the executed plan."""
    from reconciler.agent.state import DESTROYED, end_pause, pause_agents
    from reconciler.cli.common import settle_stops
    from reconciler.cli.terminal import confirm, show
    from reconciler.plan.document import compile_document
    from reconciler.render.progress import show_progress
    from reconciler.render.spinner import spin

    if not options.dry_run:
        pause_agents(name, DESTROYED)
    with spin(sys.stderr, f"reading {name}", quiet=options.quiet or options.json):
        fleet.read(lock=not options.dry_run)
    plans = fleet.plan({}, document=options.json)
    document = compile_document(name, tuple(plans.values()))
    if not (options.quiet or options.json):
        show(_render(document, options))
    if options.dry_run:
        return document
    try:
        confirm(options, f"Delete all of {name}?" if any(host.changes for host in document.hosts) else "")
    except (DeclinedError, KeyboardInterrupt):
        end_pause(name, DESTROYED)
        raise
    with show_progress(sys.stderr, quiet=options.quiet or options.json) as progress:
        fleet.apply(plans, progress)
        settle_stops()
    fleet.forget()
    return document


def _finish_dry(options: argparse.Namespace, document: PlanDocument) -> int:
    from reconciler.cli.common import print_json
    from reconciler.plan.document import CODEC, shown_document

    if options.json:
        print_json(CODEC.encode(shown_document(document, show_secrets=options.show_secrets)))
    return 0


def _report(options: argparse.Namespace, document: PlanDocument, scope: _Scope, elapsed_s: float, *, has_lost: bool) -> None:
    """Print the deletions, and where resources may remain."""
    from reconciler.cli.common import print_json
    from reconciler.plan.document import CODEC, shown_document

    changed = sum(len(host.changes) for host in document.hosts)
    if options.json:
        answer = {"format_version": FORMAT_VERSION, "changes": changed, "elapsed_s": round(elapsed_s, 3)}
        print_json({**answer, "plan": CODEC.encode(shown_document(document, show_secrets=options.show_secrets))})
    elif changed and not (options.quiet or options.host or scope.left or scope.unseen or has_lost):
        print(f"Nothing of {scope.topology} is left ({elapsed_s:.1f} s).")
    if options.host and (scope.others or scope.unseen) and not options.quiet:
        shown = ", ".join(f"{each.host} ({each.destination})" for each in (*scope.others, *scope.unseen))
        print(f"note: {scope.topology} may still be on {shown}", file=sys.stderr)


def _left_over(scope: _Scope) -> LeftoverError:
    """The error that names the remaining resources and their hosts."""
    name, left, destinations = scope.topology, scope.left, scope.destinations
    words = "; ".join(f"{host} ({destinations[host]}): {error.message}" for host, error in left.items())
    commands = [f"netctl destroy --name {name} --host {destinations[host]}" for host in left]
    help_text = f"delete them when the hosts are back: {'; '.join(commands)}"
    error = LeftoverError(f"resources of {name} remain on: {words}", help_text)
    error.is_after_answer = True
    return error


def _render(document: PlanDocument, options: argparse.Namespace) -> str:
    if not any(host.changes for host in document.hosts):
        return f"There is nothing of {document.topology}."
    from reconciler.cli.common import palette
    from reconciler.render.plan import render_plan

    return render_plan(document, palette(), verbose=options.verbose)


def _targets(
    options: argparse.Namespace, parsed: ParsedFile | None, outline: Outline | None, fleet: Fleet, command: str
) -> tuple[str, tuple[Target, ...], dict[str, str]]:
    """The topology's name, the hosts to clear, and the destinations of the file's other machines."""
    from reconciler.cli.common import check_beside, dropped_targets, find_lab_targets
    from reconciler.fleet.target import Target, default_engines, peers_of, remote_target, targets_of
    from reconciler.state.grammar import is_topology_name
    from reconciler.state.ref import LAB

    if parsed:
        topology = check_beside(options, parsed, outline, fleet, command, lock=True)
        if options.host:
            # The lab stays: it contains other hosts.
            return topology.name, tuple(t for t in targets_of(topology, options.host) if t.host != LAB), peers_of(topology)
        return topology.name, (*targets_of(topology), *dropped_targets(topology)), peers_of(topology)
    if not is_topology_name(options.name):
        raise UsageError(f"{options.name!r} is not the name of a topology", "a name is a DNS label of at most 20 characters")
    if options.host and options.host.startswith("ssh://"):
        remote = remote_target(options.host, options.name, options.host)
        return options.name, (remote,), {options.host: remote.destination}
    lab = find_lab_targets(options.name)
    local = Target("local", options.name, "local", engines=default_engines())
    targets = (Target(LAB, options.name, f"{options.name}.lab"), *lab, local)
    if options.host:
        targets = tuple(target for target in targets if target.host == options.host)
        if not targets:
            live = ", ".join(target.host for target in lab) or "none"
            raise UsageError(f"{options.name} has no host {options.host!r} here", f"live are: {live}")
    return options.name, targets, {}


def _remove_files(scope: _Scope) -> None:
    """Delete the logs of the topology's processes and workers, and the directory of all topologies if it is empty then."""
    import contextlib
    import shutil

    from reconciler.fleet.session import LOG_DIRECTORY

    shutil.rmtree(LOG_DIRECTORY / scope.topology, ignore_errors=True)
    for target in scope.targets:
        (LOG_DIRECTORY / f"{scope.topology}.worker.{target.host}.log").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        LOG_DIRECTORY.rmdir()


COMMAND = Command(
    "destroy", "delete all resources of the topology", EXAMPLES, add_arguments, run, changes_hosts=True, aliases=("down",)
)
