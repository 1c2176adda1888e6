"""`netctl destroy`: removes all that carries the topology's mark, and puts back what it had changed.

Every host is planned for with an empty desired state and carried out as an apply is, hosts first and the lab last. With
--name no file is needed: this machine is looked at, and the lab hosts that are live.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from reconciler.cli.common import dropped_targets, find_lab_targets, load_beside, palette, print_json, settle_stops, warn_of_lost
from reconciler.cli.parser import DEFAULT_FILE
from reconciler.cli.peers import choose_peers
from reconciler.errors import LeftoverError, NetctlError, UsageError
from reconciler.hosts.fleet import Fleet
from reconciler.hosts.guess import guess_count
from reconciler.hosts.peers import find_dropped, write_own_peers
from reconciler.hosts.target import (
    LAB,
    Target,
    default_engines,
    far_target,
    peers_of,
    targets_of,
)
from reconciler.plan.document import CODEC, PlanDocument, compile_document, shown_document
from reconciler.render.plan import render_plan
from reconciler.render.progress import show_progress

FORMAT_VERSION = 1
RUN_DIRECTORY = Path("/run/netctl")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", re.ASCII)


def run(options: argparse.Namespace) -> int:
    """0 when nothing of the topology is left."""
    begun = time.monotonic()
    if options.name and options.file:
        raise UsageError("a file and --name exclude each other", "give the one or the other")
    options.file = options.file or DEFAULT_FILE
    command = f"netctl destroy {'--name ' + options.name if options.name else options.file}"
    with Fleet.start(1 if options.name else guess_count(options.file)) as fleet:
        fleet.patience_s = options.rollback_after
        name, targets, peers = _targets(options, fleet, command)
        left = fleet.greet(targets, command, optional=options.keep_going)
        dropped = find_dropped(name, peers, fleet)  # what left the file, or is not named by it
        others, unseen = dropped.known, tuple(each.target for each in dropped.told)
        if not options.host:
            chosen = choose_peers(options, name, dropped)
            others, unseen = (*others, *chosen), () if chosen else unseen
            left |= fleet.greet(others, command, optional=options.keep_going) if others else {}
        fleet.read(lock=True)
        plans = fleet.plan({}, document=options.json)
        document = compile_document(name, tuple(plans.values()))
        if not (options.quiet or options.json):
            print(_render(document, options), flush=True)
        with show_progress(sys.stderr, quiet=options.quiet or options.json) as progress:
            fleet.apply(plans, progress)
            settle_stops()
        fleet.forget()
        places = {each.host: each.destination for each in (*targets, *others)}
        if options.host:  # the others still have what they had
            cleared = {target.destination for target in fleet.targets}
            remaining = {host: place for host, place in {**places, **peers}.items() if place not in {"", *cleared}}
        else:
            remaining = {host: places[host] for host in left}
        write_own_peers(name, remaining, fleet)
        warn_of_lost(fleet)
    if not options.host:
        _remove_files(name, targets)
    elapsed_s = time.monotonic() - begun
    changed = sum(len(host.changes) for host in document.hosts)
    if options.json:
        told = {"format_version": FORMAT_VERSION, "changes": changed, "elapsed_s": round(elapsed_s, 3)}
        print_json({**told, "plan": CODEC.encode(shown_document(document, show_secrets=options.show_secrets))})
    elif changed and not (options.quiet or options.host or left or unseen or fleet.lost):
        print(f"Nothing of {name} is left ({elapsed_s:.1f} s).")
    if options.host and (others or unseen) and not options.quiet:
        shown = ", ".join(f"{each.host} ({each.destination})" for each in (*others, *unseen))
        print(f"note: {name} may still be on {shown}", file=sys.stderr)
    if left:
        raise _left_over(name, left, places)
    return 0


def _left_over(name: str, left: dict[str, NetctlError], destinations: dict[str, str]) -> LeftoverError:
    """What is left where."""
    words = "; ".join(f"{host} ({destinations[host]}): {error.message}" for host, error in left.items())
    help_text = "when they are back: " + "; ".join(f"netctl destroy --name {name} --host {destinations[host]}" for host in left)
    return LeftoverError(f"what these hosts have of {name} stays there: {words}", help_text)


def _render(document: PlanDocument, options: argparse.Namespace) -> str:
    if not any(host.changes for host in document.hosts):
        return f"There is nothing of {document.topology}."
    return render_plan(document, palette(), verbose=options.verbose)


def _targets(options: argparse.Namespace, fleet: Fleet, command: str) -> tuple[str, tuple[Target, ...], dict[str, str]]:
    """The topology's name, the hosts to clear, and how the other machines of the file are reached."""
    if not options.name:
        topology = load_beside(options, fleet, command, lock=True)
        if options.host:
            # The lab stays: other hosts stand in it.
            return topology.name, tuple(t for t in targets_of(topology, options.host) if t.host != LAB), peers_of(topology)
        return topology.name, (*targets_of(topology), *dropped_targets(topology)), peers_of(topology)
    if not NAME.fullmatch(options.name):
        raise UsageError(f"{options.name!r} is not the name of a topology", "a name is a DNS label of at most 20 characters")
    if options.host and options.host.startswith("ssh://"):
        far = far_target(options.host, options.name, options.host)
        return options.name, (far,), {options.host: far.destination}
    lab = find_lab_targets(options.name)
    local = Target("local", options.name, "local", engines=default_engines())
    targets = (Target(LAB, options.name, f"{options.name}.lab"), *lab, local)
    if options.host:
        targets = tuple(target for target in targets if target.host == options.host)
        if not targets:
            live = ", ".join(target.host for target in lab) or "none"
            raise UsageError(f"{options.name} has no host {options.host!r} here", f"live are: {live}")
    return options.name, targets, {}


def _remove_files(name: str, targets: tuple[Target, ...]) -> None:
    """The logs of the topology's processes and workers; the directory of all topologies where it is empty by then."""
    import contextlib
    import shutil

    shutil.rmtree(RUN_DIRECTORY / name, ignore_errors=True)
    for target in targets:
        (RUN_DIRECTORY / f"{name}.worker.{target.host}.log").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        RUN_DIRECTORY.rmdir()
